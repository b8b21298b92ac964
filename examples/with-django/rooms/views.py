from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST


def lobby(request):
    return render(request, "lobby.html")


def room(request, room):
    return render(request, "room.html", {"room": room})


@require_POST
def announce(request, room):
    """An ordinary view that reaches every socket of the room, those of the Rust process too."""
    event = {"type": "chat.message", "message": request.POST["message"]}
    async_to_sync(get_channel_layer().group_send)(f"chat_{room}", event)
    return HttpResponse(status=204)
