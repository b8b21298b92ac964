from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Says something in a room: manage.py announce ROOM MESSAGE"

    def add_arguments(self, parser):
        parser.add_argument("room")
        parser.add_argument("message")

    def handle(self, room, message, **options):
        event = {"type": "chat.message", "message": message}
        async_to_sync(get_channel_layer().group_send)(f"chat_{room}", event)
