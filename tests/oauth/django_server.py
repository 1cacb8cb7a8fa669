"""An OAuth server made with django-oauth-toolkit. See serving.py.

Refresh tokens rotate at once (no grace period), and the reuse of a spent one ends its whole
family. When a refresh token is used, the access token that came with it ends.
"""

import json
import os
import uuid
from datetime import timedelta

import django
from django.conf import settings

from serving import SCOPES, arguments, serve

options = arguments()
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(options.data, "django.sqlite"),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF",
            },
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "oauth2_provider",
    ],
    # Tables are made from the models, which takes a tenth of the time of all migrations.
    MIGRATION_MODULES={"auth": None, "contenttypes": None, "oauth2_provider": None},
    ALLOWED_HOSTS=["127.0.0.1"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ROOT_URLCONF=__name__,
    SECRET_KEY="a key for tests and for nothing else",
    USE_TZ=True,
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": options.access_token_ttl,
        "REFRESH_TOKEN_EXPIRE_SECONDS": 86_400,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "ROTATE_REFRESH_TOKEN": True,
        "SCOPES": {scope: scope for scope in SCOPES},
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from oauth2_provider import views  # noqa: E402
from oauth2_provider.models import (  # noqa: E402
    AccessToken,
    Application,
    RefreshToken,
)

# The toolkit allows each kind of application the refresh of what it was given.
GRANT_TYPES = {
    "client_credentials": Application.GRANT_CLIENT_CREDENTIALS,
    "refresh_token": Application.GRANT_AUTHORIZATION_CODE,
}


def ready(_request):
    return JsonResponse({})


@csrf_exempt
def register(request):
    document = json.loads(request.body)
    Application.objects.update_or_create(
        client_id=document["client_id"],
        defaults={
            "client_secret": document["client_secret"],
            # A hash made to be slow would be most of what a test does.
            "hash_client_secret": False,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": GRANT_TYPES[document["grant_type"]],
        },
    )
    return JsonResponse({})


@csrf_exempt
def grant(request):
    """A pair whose access token has ended."""
    application = Application.objects.get(client_id=json.loads(request.body)["client_id"])
    user, _ = User.objects.get_or_create(username="the-user")
    common = {"user": user, "application": application}
    access_token = AccessToken.objects.create(
        token=uuid.uuid4().hex,
        scope="read",
        expires=timezone.now() - timedelta(seconds=1),
        **common,
    )
    refresh_token = RefreshToken.objects.create(
        token=uuid.uuid4().hex,
        access_token=access_token,
        token_family=uuid.uuid4(),
        **common,
    )
    return JsonResponse({"refresh_token": refresh_token.token})


urlpatterns = [
    path("token", views.TokenView.as_view()),
    path("introspect", views.IntrospectTokenView.as_view()),
    path("revoke", views.RevokeTokenView.as_view()),
    path("test/ready", ready),
    path("test/client", register),
    path("test/grant", grant),
]

call_command("migrate", run_syncdb=True, verbosity=0, interactive=False)
serve(get_wsgi_application(), options.port)
