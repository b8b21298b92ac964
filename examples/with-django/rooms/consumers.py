from channels.generic.websocket import AsyncJsonWebsocketConsumer


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One member of a room. The Rust chat's consumer has the same group, the same event and the same frames."""

    async def connect(self):
        self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content):
        event = {"type": "chat.message", "message": content["message"]}
        await self.channel_layer.group_send(self.group, event)

    async def chat_message(self, event):
        await self.send_json({"message": event["message"]})

    # Rust's frame lane sends ready frames to groups. Without these three lines, a Django member of such a group
    # would end with "No handler for message type websocket.send".
    async def websocket_send(self, event):
        await self.send(text_data=event.get("text"), bytes_data=event.get("bytes"))
