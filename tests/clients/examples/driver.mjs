// Does with the client of docs/clients what a test says; driver.py lists the commands.

import { createInterface } from "node:readline";

import { TokenServer } from "./token-server.mjs";

const server = new TokenServer(process.env.BASE, process.env.API_KEY);

async function answer([command, realm, key, ...rest]) {
  const name = { realm, key };
  if (command === "token") {
    console.log((await server.token(name)).token);
  } else if (command === "call") {
    const { text } = await server.withToken(name, async (token) => {
      const headers = { authorization: `Bearer ${token}` };
      const reply = await fetch(rest[0], { headers });
      return { refused: reply.status === 401, text: await reply.text() };
    });
    console.log(text);
  } else {
    let left = Number(rest[0]);
    for await (const { generation } of server.watch(name)) {
      console.log(generation);
      left -= 1;
      if (left === 0) break;
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    await answer(line.split(" "));
  } catch (error) {
    console.log(`error: ${error.message}`);
  }
}
