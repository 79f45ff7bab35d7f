"""CONTRACT.md §1 and §7: the field Idempotency-Key, and `coalesce`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.stage import Said
from tests.contract.support import few
from tests.servers.harness import until
from werkzeug.datastructures import Headers

from deferit import Request
from deferit._core.idempotency import InvalidKey, client_key

if TYPE_CHECKING:
    from tests.contract.clients import Answer
    from tests.contract.conftest import Build
    from tests.contract.support import Site

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


def read(*lines: str) -> str | None:
    headers = Headers([("Idempotency-Key", line) for line in lines])
    return client_key(Request("POST", "/", "", headers, {}, "http://testserver"))


# --- what is a key ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('"a b"', "a b"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('  "padded" ', "padded"),
        ("bare-token_1.2~3", "bare-token_1.2~3"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("c2F5/aGk+Cg==", "c2F5/aGk+Cg=="),
        ('"' + 255 * "k" + '"', 255 * "k"),
        (255 * "k", 255 * "k"),
    ],
)
def test_a_string_or_a_token_is_a_key(line: str, key: str) -> None:
    assert read(line) == key


def test_a_string_and_a_token_that_say_the_same_are_one_key() -> None:
    assert read('"abc"') == read("abc") == "abc"


MALFORMED = [
    *("", " ", '""', '"', '"open', 'close"', '"a" "b"', '"a", "b"', "a b", "a,b", '"a";q=1'),
    *(r'"\n"', '"\t"', "é", '"é"', 256 * "k", '"' + 256 * "k" + '"', "a;b", "(a)", "{a}"),
]


@pytest.mark.parametrize("line", MALFORMED)
def test_anything_else_is_none(line: str) -> None:
    with pytest.raises(InvalidKey):
        read(line)


def test_two_lines_are_no_key_even_if_they_are_equal() -> None:
    with pytest.raises(InvalidKey):
        read("abc", "abc")


def test_without_the_field_there_is_no_key() -> None:
    assert read() is None


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=300), min_size=1, max_size=3))
def test_whatever_is_sent_is_a_key_or_invalid(lines: list[str]) -> None:
    clean = [line.replace("\r", "").replace("\n", "") for line in lines]  # no server lets them in
    try:
        key = read(*clean)
    except InvalidKey:
        return
    assert key is not None
    assert 1 <= len(key) <= 255


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=255))
def test_any_printable_text_can_be_a_key(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')

    assert read(f'"{quoted}"') == text


@given(st.text(ascii_letters + digits + "-._~:/", min_size=1, max_size=255))
def test_any_token_is_the_key_that_it_is_as_a_string(text: str) -> None:
    assert read(text) == read(f'"{text}"') == text


@few
@pytest.mark.parametrize("line", ["", '"open', "a b", 256 * "k"])
def test_a_malformed_key_is_refused_and_makes_no_job(shop: Site, line: str) -> None:
    answer = shop.post("/always/echo", Idempotency_Key=line)

    assert (answer.status, answer["Content-Type"]) == (400, "application/problem+json")
    assert (answer.document["code"], answer["Cache-Control"]) == (
        "idempotency-key-invalid",
        "no-store",
    )
    assert answer.members("Vary") == {"Prefer"}
    assert shop.stage.calls["echo"] == 0


def test_a_route_that_is_answered_synchronously_does_not_look_at_the_key(shop: Site) -> None:
    assert shop.post("/plain/echo", Idempotency_Key="a b").status == 200
    assert shop.post("/prefer/echo", Idempotency_Key="a b").status == 200


# --- one key, one job ------------------------------------------------------------------------------------------------


def test_a_repeat_in_flight_is_the_same_202(shop: Site) -> None:
    shop.stage.gated("slow")

    first = shop.post("/always/slow", b"x", Idempotency_Key=KEY)
    second = shop.post("/always/slow", b"x", Idempotency_Key=KEY.strip('"'))

    assert (first.status, second.status) == (202, 202)
    assert first["Location"] == second["Location"]
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    shop.stage.open("slow")
    shop.end_of(first["Location"])
    assert shop.stage.calls["slow"] == 1


def test_a_repeat_of_a_finished_job_is_the_final_response(shop: Site) -> None:
    headers = (("Set-Cookie", "a=1"), ("X-Own", "yes"))
    shop.stage.acts["make"] = lambda _: Said(201, b"made", headers)
    monitor = shop.defer("/always/make", Idempotency_Key=KEY)
    shop.end_of(monitor)

    answer = shop.post("/always/make", Idempotency_Key=KEY)

    assert (answer.status, answer.body, answer["X-Own"]) == (201, b"made", "yes")
    assert (answer["Set-Cookie"], answer["Idempotent-Replayed"]) == ("a=1", "true")
    assert (answer["AsyncResult"], answer.members("Vary")) == ("201", {"Prefer"})
    assert f'<{monitor}>; rel="monitor"' in answer["Link"]
    assert shop.stage.calls["make"] == 1


def test_a_job_that_failed_answers_with_its_failure(shop: Site) -> None:
    shop.stage.acts["refuse"] = lambda _: Said(409, b"there is one")
    shop.end_of(shop.defer("/always/refuse", Idempotency_Key=KEY))

    answer = shop.post("/always/refuse", Idempotency_Key=KEY)

    assert (answer.status, answer.body) == (409, b"there is one")
    assert (answer["Idempotent-Replayed"], answer["AsyncResult"]) == ("true", "409")
    assert shop.stage.calls["refuse"] == 1


def test_a_job_that_was_canceled_answers_so(shop: Site) -> None:
    shop.stage.gated("slow")
    monitor = shop.defer("/always/slow", Idempotency_Key=KEY)
    shop.stage.wait_for("slow")
    shop.ask("POST", monitor + "/cancel")

    answer = shop.post("/always/slow", Idempotency_Key=KEY)

    assert (answer.status, answer.document["code"]) == (410, "job-canceled")
    assert answer["Idempotent-Replayed"] == "true"
    assert shop.stage.calls["slow"] == 1


def test_a_repeat_that_waits_gets_the_final_response(shop: Site) -> None:
    shop.stage.gated("slow", Said(201, b"at last"))
    monitor = shop.defer("/always/slow", Idempotency_Key=KEY)

    waiting = shop.open("POST", "/always/slow", Idempotency_Key=KEY, Prefer="wait=20")
    shop.await_watchers(monitor, 1)
    shop.stage.open("slow")
    answer = waiting.answer()

    assert (answer.status, answer.body) == (201, b"at last")
    assert answer["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("label", ["prefer", "auto", "brief"])
def test_every_mode_knows_the_key(shop: Site, label: str) -> None:
    prefer = {"Prefer": "respond-async, wait=20"}

    first = shop.post(f"/{label}/echo", b"x", Idempotency_Key=KEY, **prefer)
    second = shop.post(f"/{label}/echo", b"x", Idempotency_Key=KEY, **prefer)

    assert (first.status, first.body) == (second.status, second.body) == (200, b"x")
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert shop.stage.calls["echo"] == 1


@pytest.mark.parametrize("size", [0, 300_000, 2_000_000])
def test_a_body_of_any_size_is_part_of_what_is_the_same(shop: Site, size: int) -> None:
    body = (bytes(range(251)) * 8000)[:size]
    monitor = shop.defer("/always/echo", body, Idempotency_Key=KEY)
    shop.end_of(monitor)

    same = shop.post("/always/echo", body, Idempotency_Key=KEY)
    other = shop.post("/always/echo", body[:-1] + b"!", Idempotency_Key=KEY)

    assert (same.status, same.body, same["Idempotent-Replayed"]) == (200, body, "true")
    assert other.status == 422
    assert shop.stage.calls["echo"] == 1


def multipart(boundary: str) -> tuple[bytes, str]:
    lines = (
        f"--{boundary}",
        'Content-Disposition: form-data; name="file"; filename="orders.csv"',
        "Content-Type: text/csv",
        "",
        "id,amount",
        f"--{boundary}--",
        "",
    )
    return "\r\n".join(lines).encode(), f"multipart/form-data; boundary={boundary}"


def test_an_upload_that_is_sent_again_as_it_was_is_the_same(shop: Site) -> None:
    body, kind = multipart("one")
    other_body, other_kind = multipart("another")
    monitor = shop.defer("/always/echo", body, Idempotency_Key=KEY, Content_Type=kind)
    shop.end_of(monitor)

    same = shop.post("/always/echo", body, Idempotency_Key=KEY, Content_Type=kind)
    other = shop.post("/always/echo", other_body, Idempotency_Key=KEY, Content_Type=other_kind)

    assert (same.status, same["Idempotent-Replayed"]) == (200, "true")
    assert other.status == 422  # other bytes: nobody can say that they mean the same


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        ("/always/slow", b"y", "text/plain"),
        ("/always/slow?a=2", b"x", "text/plain"),
        ("/always/slow?a=1", b"x", "text/csv"),
        ("/always/slow?a=1", b"", "text/plain"),
    ],
)
def test_a_key_that_another_request_has_used_is_refused(
    shop: Site, url: str, body: bytes, kind: str
) -> None:
    shop.stage.gated("slow")
    shop.defer("/always/slow?a=1", b"x", Idempotency_Key=KEY, Content_Type="text/plain")

    answer = shop.post(url, body, Idempotency_Key=KEY, Content_Type=kind)

    assert (answer.status, answer["Content-Type"]) == (422, "application/problem+json")
    assert answer.document["code"] == "idempotency-key-reused"
    assert "Idempotent-Replayed" not in answer
    assert shop.stage.calls["slow"] <= 1


# --- its scope -------------------------------------------------------------------------------------------------------


def job_of(answer: Answer) -> str:
    assert answer.status == 202, answer
    document: dict[str, Any] = answer.document
    return str(document["id"])


@pytest.mark.parametrize(
    "credentials",
    [
        {"Authorization": "Bearer b"},
        {"Cookie": "session=b"},
        {},
        {"Authorization": "Bearer a", "Cookie": "session=a"},
    ],
)
def test_without_an_owner_the_credentials_are_the_scope(
    shop: Site, credentials: dict[str, str]
) -> None:
    shop.stage.gated("slow")
    alice = {"Authorization": "Bearer a"}

    first = job_of(shop.post("/always/slow", b"x", Idempotency_Key=KEY, **alice))
    other = job_of(shop.post("/always/slow", b"y", Idempotency_Key=KEY, **credentials))
    again = job_of(shop.post("/always/slow", b"x", Idempotency_Key=KEY, **alice))

    assert first == again != other


def test_the_owner_is_the_scope_whatever_the_credentials(owned: Site) -> None:
    owned.stage.gated("slow")

    def job(owner: str, token: str, body: bytes = b"x") -> str:
        headers = {"X-Owner": owner, "Authorization": token, "Idempotency-Key": KEY}
        return job_of(owned.post("/always/slow", body, **headers))

    assert job("ann", "Bearer 1") == job("ann", "Bearer 2") != job("ben", "Bearer 1", b"y")


def test_method_and_path_are_part_of_the_scope(shop: Site) -> None:
    shop.stage.gated("slow")
    shop.stage.acts["other"] = shop.stage.acts["slow"]
    asked = [("POST", "/always/slow"), ("PUT", "/always/slow"), ("POST", "/always/other")]

    jobs = {job_of(shop.ask(*request, Idempotency_Key=KEY)) for request in asked}

    assert len(jobs) == 3


def test_two_applications_in_one_store_do_not_share_keys(build: Build) -> None:
    one, other = build(application="one"), build(application="other")
    for shop in (one, other):
        shop.stage.gated("slow")

    first = one.post("/always/slow", b"x", Idempotency_Key=KEY)
    second = other.post("/always/slow", b"y", Idempotency_Key=KEY)

    assert job_of(first) != job_of(second)


# --- its life --------------------------------------------------------------------------------------------------------


def test_a_key_is_free_when_its_job_has_expired(shop: Site) -> None:
    monitor = shop.defer("/fleeting/echo", b"x", Idempotency_Key=KEY)
    until(lambda: shop.get(monitor).status == 410, "the job to expire")

    second = shop.post("/fleeting/echo", b"another", Idempotency_Key=KEY)

    assert second.status == 202
    assert "Idempotent-Replayed" not in second
    assert second["Location"] != monitor


def test_a_key_is_free_when_its_job_was_purged(shop: Site) -> None:
    monitor = shop.defer("/always/echo", b"x", Idempotency_Key=KEY)
    shop.end_of(monitor)
    assert shop.ask("DELETE", monitor).status == 204

    assert job_of(shop.post("/always/echo", b"y", Idempotency_Key=KEY)) not in monitor


def test_a_key_outlives_the_process(build: Build, variant: tuple[str, ...]) -> None:
    if variant[2] == "memory":
        pytest.skip("a store in memory does not")
    shop = build()
    shop.end_of(shop.defer("/always/echo", b"x", Idempotency_Key=KEY))
    shop.middleware.close()

    answer = shop.post("/always/echo", b"x", Idempotency_Key=KEY)

    assert (answer.status, answer.body, answer["Idempotent-Replayed"]) == (200, b"x", "true")
    assert shop.stage.calls["echo"] == 1


def test_requests_at_the_same_time_are_one_job(shop: Site) -> None:
    shop.stage.gated("slow")

    def submit(_: int) -> Answer:
        return shop.post("/always/slow", b"x", Idempotency_Key=KEY)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(submit, range(20)))
    shop.stage.open("slow")

    assert len({job_of(answer) for answer in answers}) == 1
    assert [answer.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    shop.end_of(answers[0]["Location"])
    assert shop.stage.calls["slow"] == 1
    shop.assert_nothing_left()


# --- coalesce --------------------------------------------------------------------------------------------------------


def test_identical_requests_in_flight_share_one_job(shop: Site) -> None:
    shop.stage.gated("slow")

    answers = [shop.post("/shared/slow?a=1", b"x") for _ in range(5)]

    assert len({job_of(answer) for answer in answers}) == 1
    assert not any("Idempotent-Replayed" in answer for answer in answers)
    shop.stage.open("slow")
    assert shop.result_of(answers[0]["Location"]).body == b"x"
    assert shop.stage.calls["slow"] == 1
    shop.assert_nothing_left()


def test_after_the_end_an_identical_request_is_a_new_job(shop: Site) -> None:
    first = shop.defer("/shared/echo", b"x")
    shop.end_of(first)

    second = shop.defer("/shared/echo", b"x")
    shop.end_of(second)

    assert first != second
    assert shop.stage.calls["echo"] == 2


def test_after_a_cancel_an_identical_request_is_a_new_job(shop: Site) -> None:
    shop.stage.gated("slow")
    first = shop.defer("/shared/slow", b"x")
    shop.ask("DELETE", first)

    assert shop.defer("/shared/slow", b"x") != first


@few
@pytest.mark.parametrize(
    ("method", "url", "body", "headers"),
    [
        ("POST", "/shared/slow?a=1", b"y", {}),
        ("POST", "/shared/slow?a=2", b"x", {}),
        ("POST", "/shared/slow", b"x", {}),
        ("PUT", "/shared/slow?a=1", b"x", {}),
        ("POST", "/shared/other?a=1", b"x", {}),
        ("POST", "/shared/slow?a=1", b"x", {"Content-Type": "text/csv"}),
        ("POST", "/shared/slow?a=1", b"x", {"X-Owner": "ben"}),
        ("POST", "/shared/slow?a=1", b"x", {"Authorization": "Bearer b"}),
        ("POST", "/shared/slow?a=1", b"x", {"Cookie": "session=b"}),
    ],
)
def test_requests_that_differ_do_not_share(
    owned: Site, method: str, url: str, body: bytes, headers: dict[str, str]
) -> None:
    owned.stage.gated("slow")
    owned.stage.acts["other"] = owned.stage.acts["slow"]
    first = owned.defer("/shared/slow?a=1", b"x")

    assert job_of(owned.ask(method, url, body, **headers)) not in first


def test_one_owner_shares_whatever_the_credentials(owned: Site) -> None:
    owned.stage.gated("slow")
    asked = [{"X-Owner": "ann", "Cookie": f"session={number}"} for number in range(3)]

    jobs = {job_of(owned.post("/shared/slow", b"x", **headers)) for headers in asked}

    assert len(jobs) == 1


def test_a_key_and_coalescing_do_not_mix(shop: Site) -> None:
    shop.stage.gated("slow")

    keyed = job_of(shop.post("/shared/slow", b"x", Idempotency_Key=KEY))
    plain = job_of(shop.post("/shared/slow", b"x"))
    again = job_of(shop.post("/shared/slow", b"x", Idempotency_Key=KEY))

    assert keyed == again != plain
