"""Does with the client of docs/clients what a test says: a command a line, and a line of answer each.

token REALM KEY      the token
call REALM KEY URL   what URL answers to it, with another token where it answers 401
watch REALM KEY N    each of the next N generations, a line each
"""

import os
import sys
import urllib.error
import urllib.request

from token_server import TokenServer

server = TokenServer(os.environ["BASE"], os.environ["API_KEY"])


def call(url):
    def with_token(token):
        request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
        try:
            return False, urllib.request.urlopen(request).read().decode()
        except urllib.error.HTTPError as error:
            return error.code == 401, "refused"

    return with_token


def answer(command, realm, key, *rest):
    name = {"realm": realm, "key": key}
    if command == "token":
        print(server.token(**name)["token"], flush=True)
    elif command == "call":
        print(server.with_token(call(rest[0]), **name), flush=True)
    else:
        for _, held in zip(range(int(rest[0])), server.watch(**name)):
            print(held["generation"], flush=True)


for line in sys.stdin:
    try:
        answer(*line.split())
    except RuntimeError as error:
        print("error:", error, flush=True)
