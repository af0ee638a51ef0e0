"""Sections 1 and 2 of the wire: which paths there are, with which methods; greeting, page for frames, /info."""

import json
import re
import uuid

from support import Case, ask, get, post, session


class Greeting(Case):
    def test_the_prefix_greets_with_and_without_a_slash(self):
        for path in ("/echo", "/echo/", "/close", "/close/"):
            response = get(path)
            self.assertEqual((response.status, response.text), (200, "Welcome to SockJS!\n"))
            self.assert_type(response, "text/plain;charset=UTF-8")
            self.assert_no_cookie(response)
            self.assert_no_cors(response)

    def test_the_cookie_is_not_for_the_greeting(self):
        self.assert_no_cookie(get("/cookie_needed_echo"))


class Paths(Case):
    def test_what_is_nothing_is_not_found(self):
        for suffix in ("/a", "/a/", "/a.html", "//", "///", "/a/a", "/a/a/", "/a/a/a", "/a/a/a/a", "/infos", "/info//"):
            self.assert_not_found(get(f"/echo{suffix}"))
            self.assert_not_found(post(f"/echo{suffix}"))

    def test_ids_are_neither_empty_nor_have_dots(self):
        for suffix in ("//", "/a./a", "/a/a.", "/./.", "/", "///", "/a/.", "/./a", "/../a", "/a//", "//a"):
            for method in ("GET", "POST"):
                response = ask(method, f"/echo{suffix}/xhr")
                self.assertEqual(response.status, 404, f"{method} {suffix}/xhr")

    def test_a_path_outside_of_every_prefix_is_not_found(self):
        for path in ("/", "/echo2", "/ech", "/echo2/info", "/ECHO/info", "/other/000/a/xhr"):
            self.assert_not_found(get(path))

    def test_ids_may_be_anything_else(self):
        unique = uuid.uuid4().hex
        for part in (f"/a/a{unique}", f"/_/_{unique}", f"/1/1{unique}", f"/abcdefgh_i-j%20/abcdefg_i-j%20{unique}", f"/~!$&'()*+,;=:@/x-{unique}"):
            self.assert_polled(post(f"/echo{part}/xhr"), "o\n")

    def test_one_slash_at_the_end_is_nothing(self):
        url = session()
        self.assert_polled(post(f"{url}/xhr/"), "o\n")
        self.assert_sent(post(f"{url}/xhr_send/", b'["a"]'))
        self.assert_polled(post(f"{url}/xhr/"), 'a["a"]\n')
        self.assertEqual(get("/echo/info/").status, 200)
        self.assertEqual(get("/echo/iframe.html/").status, 200)

    def test_the_server_id_says_nothing(self):
        session_id = uuid.uuid4()
        self.assert_polled(post(f"/echo/000/{session_id}/xhr"), "o\n")
        self.assert_sent(post(f"/echo/500/{session_id}/xhr_send", b'["a"]'))
        self.assert_polled(post(f"/echo/999/{session_id}/xhr"), 'a["a"]\n')

    def test_prefixes_have_sessions_of_their_own(self):
        session_id = uuid.uuid4()
        self.assert_polled(post(f"/echo/000/{session_id}/xhr"), "o\n")
        self.assert_polled(post(f"/cookie_needed_echo/000/{session_id}/xhr"), "o\n")


class Methods(Case):
    def check(self, path, allowed):
        for method in {"GET", "POST", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH"} - allowed:
            with self.subTest(method=method, path=path):
                self.assert_not_allowed(ask(method, path), allowed)

    def test_what_has_no_session_is_read(self):
        for path in ("/echo", "/echo/", "/echo/iframe.html", "/echo/websocket"):
            self.check(path, {"GET"})
        self.check("/echo/info", {"GET", "OPTIONS"})

    def test_xhr_is_posted(self):
        for endpoint in ("xhr", "xhr_send", "xhr_streaming"):
            self.check(f"/echo/000/{uuid.uuid4()}/{endpoint}", {"POST", "OPTIONS"})

    def test_the_rest_is_read_but_for_jsonp_send(self):
        for endpoint in ("eventsource", "htmlfile", "jsonp", "websocket"):
            self.check(f"/echo/000/{uuid.uuid4()}/{endpoint}", {"GET"})
        self.check(f"/echo/000/{uuid.uuid4()}/jsonp_send", {"POST"})

    def test_the_path_is_looked_at_first(self):
        self.assert_not_found(ask("DELETE", "/echo/000/a.b/xhr"))
        self.assert_not_found(ask("PUT", "/echo/nothing"))


class Iframe(Case):
    PAGE = re.compile(
        r"^<!DOCTYPE html>\n<html>\n<head>\n"
        r'  <meta http-equiv="X-UA-Compatible" content="IE=edge" />\n'
        r'  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />\n'
        r'  <script src="(?P<client>[^"]*)"></script>\n'
        r"  <script>\n    document\.domain = document\.domain;\n    SockJS\.bootstrap_iframe\(\);\n  </script>\n"
        r"</head>\n<body>\n  <h2>Don't panic!</h2>\n"
        r"  <p>This is a SockJS hidden iframe\. It's used for cross domain magic\.</p>\n</body>\n</html>$"
    )

    def check(self, path):
        response = get(path)
        self.assertEqual(response.status, 200)
        self.assert_type(response, "text/html;charset=UTF-8")
        self.assert_cached_for_a_year(response)
        self.assertRegex(response["etag"], r'^"[0-9a-f]+"$')
        self.assertIsNone(response["last-modified"])
        self.assert_no_cookie(response)
        self.assert_no_cors(response)
        page = self.PAGE.match(response.text.strip())
        self.assertTrue(page, response.text)
        self.assertTrue(page["client"].startswith(("/", "http")))
        return response, page["client"]

    def test_every_version_of_the_page_is_the_page(self):
        pages = {self.check(f"/echo/{name}")[0].body for name in (
            "iframe.html", "iframe-a.html", "iframe-.html", "iframe-0.1.2.html", "iframe-0.1.2abc-dirty.2144.html",
            "iframe-a.html?t=1234", "iframe-0.1.2.html?t=123414", "iframe-0.1.2abc-dirty.2144.html?t=qweqweq123",
        )}  # fmt: skip
        self.assertEqual(len(pages), 1)

    def test_what_only_looks_like_it_is_not_found(self):
        for name in ("iframe.htm", "iframe", "IFRAME.HTML", "IFRAME", "iframe.HTML", "iframe.xml", "iframe-/.html", "iframe-A.html", "iframe-1.html.x"):
            self.assert_not_found(get(f"/echo/{name}"))

    def test_who_has_the_page_is_told_so(self):
        first, _ = self.check("/echo/iframe.html")
        second, _ = self.check("/echo/iframe-1.6.1.html")
        self.assertEqual(first["etag"], second["etag"])
        response = get("/echo/iframe.html", {"If-None-Match": first["etag"]})
        self.assertEqual((response.status, response.body), (304, b""))
        self.assertIsNone(response["content-type"])
        self.assertEqual(get("/echo/iframe.html", {"If-None-Match": '"other"'}).status, 200)

    def test_its_client_is_there(self):
        _, client = self.check("/echo/iframe.html")
        if client.startswith("/"):
            response = get(client)
            self.assertEqual(response.status, 200)
            self.assertRegex(response["content-type"], r"^(text|application)/javascript")
            self.assertIn("bootstrap_iframe", response.text)


class Info(Case):
    def test_it_says_what_the_server_can_do(self):
        response = get("/echo/info")
        self.assertEqual(response.status, 200)
        self.assert_type(response, "application/json;charset=UTF-8")
        self.assert_no_cookie(response)
        self.assert_not_cached(response)
        self.assert_cors(response)
        info = json.loads(response.body)
        self.assertIs(info["websocket"], True)
        self.assertIs(info["cookie_needed"], False)
        self.assertEqual(info["origins"], ["*:*"])
        self.assertIs(type(info["entropy"]), int)
        self.assertIn(info["entropy"], range(2**32))

    def test_entropy_is_another_each_time(self):
        said = {json.loads(get("/echo/info").body)["entropy"] for _ in range(20)}
        self.assertEqual(len(said), 20)
        # Twenty random numbers below 2^28 come once in 10^24 times.
        self.assertGreater(max(said), 2**28)

    def test_its_options_follow_the_prefix(self):
        self.assertIs(json.loads(get("/disabled_websocket_echo/info").body)["websocket"], False)
        response = get("/cookie_needed_echo/info")
        self.assertIs(json.loads(response.body)["cookie_needed"], True)
        self.assert_no_cookie(response)

    def test_the_query_is_ignored(self):
        self.assertEqual(get("/echo/info?t=1700000000").status, 200)
