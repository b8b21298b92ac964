import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

http = get_asgi_application()

from rooms.consumers import ChatConsumer

application = ProtocolTypeRouter(
    {"http": http, "websocket": URLRouter([path("ws/chat/<slug:room>/", ChatConsumer.as_asgi())])}
)
