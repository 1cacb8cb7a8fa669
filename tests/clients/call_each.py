"""Generates a client from the specification and calls each operation of a server with it.

Usage: call_each.py SPECIFICATION DIRECTORY, with BASE_URL, ADMIN_KEY and PROVIDER_URL in the
environment. The client is made in the directory. Fails where an answer is not read as the model
that the specification names, and where an operation is not called.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "token_server_client"
NOT_UNDERSTOOD = """\
content_type_overrides:
  # Texts, of which this generator knows one.
  application/openmetrics-text; version=1.0.0; charset=utf-8: text/plain
  text/xml: application/octet-stream
  text/event-stream: text/plain
post_hooks: []
"""


def generate(specification, directory):
    config = directory / "config.yaml"
    config.write_text(NOT_UNDERSTOOD)
    command = [sys.executable, "-m", "openapi_python_client", "generate"]
    command += ["--path", str(specification), "--output-path", str(directory / PACKAGE)]
    command += ["--meta", "none", "--config", str(config), "--fail-on-warning"]
    subprocess.run(command, check=True)
    sys.path.insert(0, str(directory))
    return importlib.import_module(PACKAGE), importlib.import_module(f"{PACKAGE}.models")


class Operations:
    """Each operation by its name; remembers which were called."""

    def __init__(self, package):
        self.modules = {}
        self.called = set()
        for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
            imported = importlib.import_module(module.name)
            if hasattr(imported, "sync_detailed"):
                self.modules[module.name.rpartition(".")[2]] = imported

    def call(self, name, model, status=200, /, **arguments):
        self.called.add(name)
        response = self.modules[name].sync_detailed(**arguments)
        assert response.status_code == status, (name, response.status_code, response.content)
        assert isinstance(response.parsed, model), (name, response.parsed)
        return response.parsed


def main():
    specification, directory = map(Path, sys.argv[1:])
    package, models = generate(specification, directory)
    operations = Operations(package)
    base = os.environ["BASE_URL"]
    admin = package.AuthenticatedClient(base_url=base, token=os.environ["ADMIN_KEY"])
    anybody = package.Client(base_url=base)

    def call(name, model, status=200, /, **arguments):
        return operations.call(name, model, status, client=admin, **arguments)

    operations.call("get_health", models.Success, client=anybody)
    operations.call("get_readiness", models.Success, client=anybody)

    page = call("list_presets", models.PresetPageAnswer, page=1, page_size=2)
    assert len(page.data.list_) == 2 and page.data.total > 100
    preset = page.data.list_[0]
    assert preset.verified in list(models.Verification)
    assert preset.category in list(models.PresetCategory)
    query = {"keyword": "微信", "category": models.PresetCategory.COMMUNICATION, "country": "CN"}
    found = call("list_presets", models.PresetPageAnswer, **query)
    assert "wechat_oa" in [one.id for one in found.data.list_]
    one = call("get_preset", models.PresetAnswer, id=preset.id)
    assert one.data.to_dict() == preset.to_dict()
    call("get_preset", models.NoSuchPresetProblem, 404, id="none")
    registration = models.PresetRegistration(id="from-a-preset")
    realm = call("register_preset", models.RealmAnswer, id=preset.id, body=registration)
    assert realm.data.comment == preset.title
    call(
        "register_preset", models.PresetConflictProblem, 409, id=preset.id, body=registration
    )

    config = {
        "url": os.environ["PROVIDER_URL"],
        "method": "GET",
        "arguments": [{"name": "appid", "place": "url", "value": "$key_1"}],
        "token_path": "access_token",
        "expires_in_path": "expires_in",
    }
    body = models.RealmPatch(id="r", config=models.RealmDocument.from_dict(config))
    realm = call("save_realm", models.RealmAnswer, body=body)
    assert realm.data.config.to_dict() == config and realm.data.comment is None
    assert call("get_realm", models.RealmAnswer, id="r").data.version >= 1
    assert call("list_realms", models.RealmPageAnswer, keyword="r").data.total >= 1
    trial = models.RealmTest(
        config=models.RealmDocument.from_dict(config),
        params=models.Params.from_dict({"key_1": "the-app"}),
        send=True,
    )
    tried = call("test_realm", models.DryRunAnswer, body=trial)
    assert tried.data.exchanges[0].answer.status == 200

    body = models.SecretPatch(realm="r", key="k", key_1="the-app", key_2="the-secret")
    assert call("save_secret", models.SecretAnswer, body=body).data.key == "k"
    token = call("get_token", models.Token, realm="r", key="k", min_ttl_s=1)
    assert token.expires_in_s > 0 and token.expires_at is not None
    secret = call("get_secret", models.SecretAnswer, realm="r", key="k").data
    assert secret.state == models.SecretState.ACTIVE
    # Nothing has gone wrong, and nothing is waited for.
    assert secret.last_error is None and secret.waiting is None
    assert secret.expires_at.tzinfo is not None
    listed = call("list_secrets", models.SecretPageAnswer, state=models.SecretState.ACTIVE)
    assert "k" in [secret.key for secret in listed.data.list_]
    # What is answered goes on: it is read by nobody here.
    request = operations.modules["get_events"]._get_kwargs()
    with admin.get_httpx_client().stream(**request) as events:
        assert events.status_code == 200, events
        assert events.headers["content-type"] == "text/event-stream"
    operations.called.add("get_events")
    preview = call("preview_realm", models.DryRunAnswer, id="r", key="k")
    assert preview.data.exchanges[0].request.method == "GET"
    unknown = call("watch_token", models.InvalidReadProblem, 400, realm="r", key="nobody")
    assert unknown.code == "unknown_secret"
    flushed = call("flush_token", models.Token, body=models.FlushRequest(realm="r", key="k"))
    assert flushed.flushed in (True, False)
    report = models.ReportRequest(realm="r", key="k", generation=flushed.generation)
    assert call("report_token", models.Token, body=report).generation >= flushed.generation
    assert call("pause_secret", models.SecretAnswer, realm="r", key="k").data.state == "paused"
    assert call("resume_secret", models.SecretAnswer, realm="r", key="k").data.key == "k"
    assert call("run_renewals", models.RenewalRunAnswer, realm="r").data.failed == 0
    renewals = call("list_renewals", models.RenewalPageAnswer, outcome=models.RenewalOutcome.STORED).data
    assert renewals.list_[-1].class_ is None and renewals.list_[-1].cause

    call("save_realm", models.RealmAnswer, body=models.RealmPatch(id="fixed", config=None))
    fixed = models.FixedToken(realm="fixed", key="k", token="typed-in")
    call("save_fixed_token", models.Success, body=fixed)
    token = call("get_token", models.Token, realm="fixed", key="k")
    assert token.token == "typed-in" and token.expires_at is None
    problem = call("get_token", models.FixedTokenProblem, 417, realm="fixed", key="k", flush="1")
    assert problem.code == models.FixedTokenProblemCode.FIXED_TOKEN_FLUSHED
    problem = call("get_token", models.InvalidReadProblem, 400, realm="r", key="nobody")
    assert problem.code == "unknown_secret" and problem.request_id
    stranger = package.AuthenticatedClient(base_url=base, token="a-key-that-is-not-one")
    problem = operations.call(
        "get_token", models.UnauthorizedProblem, 401, client=stranger, realm="r", key="k"
    )
    assert problem.code == models.UnauthorizedProblemCode.UNAUTHORIZED

    assert not call("get_sign_in", models.SignInAnswer).data.oidc
    session = call("create_session", models.SessionAnswer).data
    assert session.realms is None and models.Scope.ADMIN in session.scopes
    # These are for whoever has its cookie, and calls with nothing else.
    assert call("get_session", models.NoSessionProblem, 404).code == "no_session"
    call("end_session", models.NoSessionProblem, 404)

    scopes = [models.Scope.TOKENREAD]
    new = models.NewApiKey(name="reader", scopes=scopes, realms=["r*"])
    made = call("create_api_key", models.MadeApiKeyAnswer, body=new).data
    keys = call("list_api_keys", models.ApiKeyPageAnswer).data
    assert keys.list_[0].realms == ["r*"] and keys.list_[0].keys is None
    call("revoke_api_key", models.Success, id=made.id)
    call("revoke_api_key", models.UnknownApiKeyProblem, 404, id=made.id)
    rule = models.NewIssuerRule(when="claims.sub == 'a'", scopes=scopes, realms=["r*"])
    issuer = models.NewIssuer(issuer="https://issuer.example", audiences=["a"], rules=[rule])
    saved = call("save_issuer", models.IssuerAnswer, name="one", body=issuer).data
    assert saved.algorithms == [models.JwtAlgorithm.RS256] and saved.jwks_url is None
    listed = call("list_issuers", models.IssuerPageAnswer).data
    assert listed.list_[0].rules[0].realms == ["r*"]
    assert call("get_issuer", models.IssuerAnswer, name="one").data.version == 1
    call("delete_issuer", models.Success, name="one")
    call("delete_issuer", models.UnknownIssuerProblem, 404, name="one")
    # Looks are written a little later than changes.
    filters = {"page_size": 1, "action": "issuer.delete"}
    audit = call("list_audit_entries", models.AuditEntryPageAnswer, **filters).data
    assert audit.list_[0].target == "one"
    overview = call("get_overview", models.OverviewAnswer).data
    assert overview.replica.name and overview.states is not None
    settings = call("get_settings", models.SettingsAnswer).data
    assert settings.sealing_keys[0].seals and settings.configuration["http"]
    assert call("get_metrics", str).endswith("# EOF\n")

    config["ticket"] = {
        "format": "feishu_json",
        "app_id": "$key_1",
        "token": "$key_2",
        "valid_s": 600,
    }
    config["arguments"] = [{"name": "ticket", "place": "url", "value": "$ticket"}]
    body = models.RealmPatch(id="pushed", config=models.RealmDocument.from_dict(config))
    call("save_realm", models.RealmAnswer, body=body)
    body = models.SecretPatch(realm="pushed", key="k", key_1="app", key_2="verification")
    call("save_secret", models.SecretAnswer, body=body)
    call("check_ticket_url", models.CheckRefusedProblem, 400, realm="pushed")
    push = {"type": "url_verification", "token": "verification", "challenge": "c"}
    body = models.ReceiveTicketJsonBody.from_dict(push)
    call("receive_ticket", object, realm="pushed", body=body)
    call("receive_ticket", models.TakesNoTicketsProblem, 404, realm="r", body=body)

    call("delete_realm", models.RealmInUseProblem, 409, id="r")
    call("delete_secret", models.DeletedAnswer, realm="r", key="k")
    call("delete_realm", models.DeletedAnswer, id="r", cascade=True)

    left = set(operations.modules) - operations.called
    assert not left, f"not called: {left}"


main()
