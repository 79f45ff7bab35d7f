"""A project of Django's in one module: its settings, its views and its URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from deferit import current_job, deferred, progress

if TYPE_CHECKING:
    from collections.abc import Callable

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={},
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of the tests",
)
django.setup()


def _report(request: HttpRequest) -> JsonResponse:
    progress(0.4, "sorting")
    body = {"body": request.body.decode(), "in_a_job": current_job() is not None}
    return JsonResponse(body, status=201)


def with_year(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Refuse what asks for no year, in front of the mark."""

    def checked(request: HttpRequest) -> HttpResponse:
        return view(request) if "year" in request.GET else HttpResponse(b"Which year?", status=400)

    return checked


@csrf_exempt
@deferred
def report(request: HttpRequest) -> HttpResponse:
    return _report(request)


@csrf_exempt
@deferred
async def areport(request: HttpRequest) -> HttpResponse:
    return _report(request)


@csrf_exempt
@deferred(mode="auto", wait=20)
def quick(request: HttpRequest) -> HttpResponse:
    return _report(request)


@deferred
def guarded(request: HttpRequest) -> HttpResponse:
    return _report(request)


class Reports(View):
    """Shows a form, and takes it."""

    def get(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"a form")

    @deferred
    def post(self, request: HttpRequest) -> HttpResponse:
        return _report(request)


urlpatterns = [
    path("report", report),
    path("areport", areport),
    path("quick", quick),
    path("guarded", guarded),
    path("checked", csrf_exempt(with_year(report))),
    path("view", csrf_exempt(Reports.as_view())),
    path("plain", csrf_exempt(_report)),
]
