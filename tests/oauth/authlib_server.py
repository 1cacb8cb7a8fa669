"""An OAuth server made with Authlib, in Flask. See serving.py.

client_credentials and refresh_token; refresh tokens rotate and a spent one is refused. Clients
authenticate as they are registered: client_secret_basic, client_secret_post, private_key_jwt.
The jti of an assertion is accepted once.
"""

import json
import os
import sqlite3
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Flask, request
from joserfc.jwk import KeySet

from serving import SCOPES, arguments, serve

AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]

options = arguments()
issuer = f"http://127.0.0.1:{options.port}"
# Each request is one transaction, so that a rotation is whole or has not been.
store = sqlite3.connect(
    os.path.join(options.data, "authlib.sqlite"), check_same_thread=False
)
store.row_factory = sqlite3.Row
store.executescript(
    """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF;
    CREATE TABLE IF NOT EXISTS client (client_id TEXT PRIMARY KEY, document TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS token (
        access_token TEXT UNIQUE, refresh_token TEXT UNIQUE, client_id TEXT NOT NULL,
        scope TEXT NOT NULL, ends_at REAL NOT NULL,
        access_revoked INTEGER NOT NULL DEFAULT 0, refresh_revoked INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE IF NOT EXISTS jti (client_id TEXT, jti TEXT, PRIMARY KEY (client_id, jti));
    """
)


class Client(ClientMixin):
    def __init__(self, document):
        self.document = document

    @property
    def client_id(self):
        return self.document["client_id"]

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_client_secret(self, client_secret):
        return client_secret == self.document.get("client_secret")

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.document["auth_method"]

    def check_grant_type(self, grant_type):
        return grant_type == self.document["grant_type"]


class Token(TokenMixin):
    def __init__(self, row):
        self.row = row

    def check_client(self, client):
        return self.row["client_id"] == client.client_id

    def get_scope(self):
        return self.row["scope"]

    def is_expired(self):
        return self.row["ends_at"] <= time.time()

    def is_revoked(self):
        return bool(self.row["access_revoked"])


def query_client(client_id):
    row = store.execute(
        "SELECT document FROM client WHERE client_id = ?", [client_id]
    ).fetchone()
    return row and Client(json.loads(row["document"]))


def save_token(token, asked):
    store.execute(
        "INSERT INTO token (access_token, refresh_token, client_id, scope, ends_at)"
        " VALUES (?, ?, ?, ?, ?)",
        [
            token["access_token"],
            token.get("refresh_token"),
            asked.client.client_id,
            token.get("scope") or "",
            time.time() + token["expires_in"],
        ],
    )


def query_token(token_string, _hint=None):
    row = store.execute(
        "SELECT * FROM token WHERE ? IN (access_token, refresh_token)", [token_string]
    ).fetchone()
    return row and Token(row)


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS


class RefreshToken(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        row = store.execute(
            "SELECT * FROM token WHERE refresh_token = ? AND NOT refresh_revoked",
            [refresh_token],
        ).fetchone()
        return row and Token(row)

    def authenticate_user(self, _refresh_token):
        return "the-user"

    def revoke_old_credential(self, refresh_token):
        store.execute(
            "UPDATE token SET refresh_revoked = 1 WHERE refresh_token = ?",
            [refresh_token.row["refresh_token"]],
        )


class PrivateKeyJwt(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = "private_key_jwt"

    def get_audiences(self):
        return [issuer, f"{issuer}/token"]

    def resolve_client_public_key(self, client):
        return KeySet.import_key_set(client.document["jwks"])

    def validate_jti(self, claims, jti):
        used = store.execute(
            "INSERT OR IGNORE INTO jti VALUES (?, ?)", [claims["sub"], jti]
        )
        return used.rowcount == 1


class Introspection(IntrospectionEndpoint):
    query_token = staticmethod(query_token)

    def check_permission(self, token, client, asked):
        return True

    def introspect_token(self, token):
        return {"active": True, "client_id": token.row["client_id"]}


class Revocation(RevocationEndpoint):
    query_token = staticmethod(query_token)

    def revoke_token(self, token, asked):
        store.execute(
            "UPDATE token SET access_revoked = 1, refresh_revoked = 1 WHERE access_token = ?",
            [token.row["access_token"]],
        )


app = Flask("authlib_server")
lifetimes = {name: options.access_token_ttl for name in ("client_credentials", "refresh_token")}
app.config.update(
    OAUTH2_REFRESH_TOKEN_GENERATOR=True,
    OAUTH2_TOKEN_EXPIRES_IN=lifetimes,
    OAUTH2_SCOPES_SUPPORTED=SCOPES,
)
server = AuthorizationServer(app, query_client, save_token)
server.register_client_auth_method(PrivateKeyJwt.CLIENT_AUTH_METHOD, PrivateKeyJwt(leeway=0))
server.register_grant(ClientCredentials)
server.register_grant(RefreshToken)
server.register_endpoint(Introspection)
server.register_endpoint(Revocation)


@app.teardown_request
def end_transaction(error):
    store.rollback() if error else store.commit()


@app.post("/token")
def token():
    return server.create_token_response()


@app.post("/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


@app.post("/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.get("/test/ready")
def ready():
    return {}


@app.post("/test/client")
def register():
    document = request.get_json()
    store.execute(
        "INSERT OR REPLACE INTO client VALUES (?, ?)",
        [document["client_id"], json.dumps(document)],
    )
    return {}


@app.post("/test/grant")
def grant():
    """A pair whose access token has ended."""
    client_id = request.get_json()["client_id"]
    pair = server.generate_token("refresh_token", query_client(client_id), scope="read")
    store.execute(
        "INSERT INTO token (access_token, refresh_token, client_id, scope, ends_at)"
        " VALUES (?, ?, ?, 'read', 0)",
        [pair["access_token"], pair["refresh_token"], client_id],
    )
    return {"refresh_token": pair["refresh_token"]}


serve(app, options.port)
