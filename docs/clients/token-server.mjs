// A client of token-server that needs nothing but Node 20.

const KEEP_MS = 60_000; // A token that was replaced before its time is used for no longer.
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

export class TokenServer {
  #held = new Map();

  constructor(base, apiKey) { Object.assign(this, { base, apiKey }); }

  // An answer; waits out a 503 three times.
  async #ask(path, body) {
    const headers = { authorization: `Bearer ${this.apiKey}`, "content-type": "application/json" };
    const request = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
    for (let triesLeft = 3; ; triesLeft -= 1) {
      const answer = await fetch(this.base + path, request);
      if (answer.ok) return answer;
      if (answer.status !== 503 || triesLeft === 0) throw new Error((await answer.json()).detail);
      await sleep(Math.min(Number(answer.headers.get("retry-after")), 30) * 1000);
    }
  }

  #keep({ realm, key }, held) {
    // For a minute at most, and for half of the time that it is valid.
    const freshUntil = performance.now() + Math.min(KEEP_MS, held.expires_in / 2);
    this.#held.set(JSON.stringify([realm, key]), { ...held, freshUntil });
    return held;
  }

  async token({ realm, key }) {
    const held = this.#held.get(JSON.stringify([realm, key]));
    if (held && performance.now() < held.freshUntil) return held;
    const answer = await this.#ask(`/api/token?${new URLSearchParams({ realm, key })}`);
    return this.#keep({ realm, key }, await answer.json());
  }

  // Calls the provider; once more, with another token, where it refuses this one.
  async withToken(name, call) {
    const { token, generation } = await this.token(name);
    const first = await call(token);
    if (!first.refused) return first;
    const answer = await this.#ask("/api/token/report", { ...name, generation });
    return call(this.#keep(name, await answer.json()).token);
  }

  // Each token as it comes; to be called again when it ends.
  async *watch({ realm, key }) {
    const query = new URLSearchParams({ realm, key, include: "token" });
    const answer = await this.#ask(`/api/token/watch?${query}`);
    let rest = "";
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines.filter((line) => line.startsWith("data: "))) {
        yield this.#keep({ realm, key }, JSON.parse(line.slice(6)));
      }
    }
  }
}
