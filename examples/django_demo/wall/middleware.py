"""Two small ones that Django 5 does not bring."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

Next = Callable[[HttpRequest], HttpResponse]

POLICY = "; ".join(
    (
        "default-src 'self'",  # scripts, styles, the realtime connection: ours only, and nothing inline
        "style-src-attr 'unsafe-inline'",  # the sizes of a photo stand in its style attribute
        "img-src 'self' blob:",  # blob: the preview of what is about to be uploaded
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


def content_security_policy(get_response: Next) -> Next:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return middleware


def upload_limit(get_response: Next) -> Next:
    """Refuses a body that is too large before it fills the disk."""
    most = settings.MAX_UPLOAD_BYTES + 65_536  # the other fields

    def middleware(request: HttpRequest) -> HttpResponse:
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0  # Django, too, takes that for no body
        if length > most:
            message = f"That file is larger than {settings.MAX_UPLOAD_BYTES // 1024 // 1024} MB."
            return JsonResponse({"errors": {"picture": [{"message": message}]}}, status=413)
        return get_response(request)

    return middleware
