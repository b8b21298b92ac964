"""The least that the chat needs. For a machine of one's own: no database, no sessions, no secrets."""

import os
from pathlib import Path

SECRET_KEY = "only for a demonstration"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["daphne", "channels", "rooms"]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
BASE_DIR = Path(__file__).resolve().parent.parent

# The Rust side says the same with redis://127.0.0.1:6379/0?mode=core
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": f"channels_redis.{os.environ.get('LAYER', 'core.RedisChannelLayer')}",
        "CONFIG": {"hosts": [os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")]},
    }
}
