"""Django Channels for uvicorn, with channels_redis: /sub joins the group, what comes on /pub is sent to it."""

import os
from typing import Any

from django.conf import settings

settings.configure(
    SECRET_KEY="not much of a secret",
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["channels"],
    LOGGING_CONFIG=None,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [f"redis://127.0.0.1:{os.environ['REDIS_PORT']}"]},
        }
    },
)

import django  # noqa: E402

django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402


class Consumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.subscriber = self.scope["path"] == "/sub"
        if self.subscriber:
            await self.channel_layer.group_add("feed", self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        if self.subscriber:
            await self.channel_layer.group_discard("feed", self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send("feed", {"type": "tell", "text": text_data})

    async def tell(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


app = Consumer.as_asgi()
