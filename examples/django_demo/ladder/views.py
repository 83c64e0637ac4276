from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from wall.models import Photo

from ladder.realtime import simulation
from ladder.simulation import MOST, rungs


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    simulation.url = f"http://127.0.0.1:{request.META['SERVER_PORT']}/"
    return render(request, "ladder/index.html", {"rungs": rungs(), "most": MOST})


@require_safe
def now(request: HttpRequest) -> JsonResponse:
    """What a page polls before it climbs: a view, with a query."""
    return JsonResponse({"photos": Photo.objects.count(), "told": simulation.told})
