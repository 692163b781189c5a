"""A person who follows a link: log in to the admin, open the page."""

import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin, urlsplit

TIMEOUT_SECONDS = 30


class Visitor:
    """A browser's cookies and nothing else of it."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def log_in(self, user: str, password: str) -> None:
        address = urljoin(self._base_url, "/admin/login/")
        self._open(address)
        (token,) = [cookie.value for cookie in self._cookies if cookie.name == "csrftoken"]
        form = {"username": user, "password": password, "csrfmiddlewaretoken": token, "next": "/schema/"}
        self._open(address, urlencode(form).encode())

    def status_of(self, url: str) -> int:
        """What the page of this link answers on the stack at hand, whatever host people reach it by."""
        return self._open(urljoin(self._base_url, urlsplit(url).path))

    def _open(self, address: str, form: bytes | None = None) -> int:
        request = urllib.request.Request(address, form, {"Referer": address})  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                # A page that only asks for the password is not the page.
                return 401 if form is None and "/login/?next=" in answer.url else int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
