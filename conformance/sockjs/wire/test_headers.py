"""Section 7 of the wire: what is cached, who may read, which cookies are set."""

from support import Case, Stream, ask, get, post, session

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Preflight(Case):
    def check(self, path, methods):
        for origin in ("http://test", "null"):
            response = ask("OPTIONS", path, {"Origin": origin, "Access-Control-Request-Method": methods[1]})
            self.assertIn(response.status, (200, 204))
            self.assertEqual(response.body, b"")
            self.assert_cached_for_a_year(response)
            self.assertGreater(int(response["access-control-max-age"]), 1_000_000)
            self.assertEqual({each.strip() for each in response["access-control-allow-methods"].split(",")}, set(methods))
            self.assert_cors(response, origin)

    def test_of_info(self):
        self.check("/echo/info", ["OPTIONS", "GET"])

    def test_of_xhr(self):
        for endpoint in ("xhr", "xhr_send", "xhr_streaming"):
            self.check(f"/echo/abc/abc/{endpoint}", ["OPTIONS", "POST"])

    def test_it_opens_nothing(self):
        url = session()
        ask("OPTIONS", f"{url}/xhr", {"Origin": "http://test"})
        self.assert_not_found(post(f"{url}/xhr_send", b'["a"]'))

    def test_headers_that_are_asked_for_are_allowed(self):
        for asked, allowed in (("a, b, c", "a, b, c"), ("", None), (None, None)):
            headers = {"Origin": "http://test", "Access-Control-Request-Method": "POST"}
            if asked is not None:
                headers["Access-Control-Request-Headers"] = asked
            for method in ("OPTIONS", "POST"):
                response = ask(method, f"{session()}/xhr", headers)
                self.assert_cors(response, "http://test")
                self.assertEqual(response["access-control-allow-headers"], allowed)

    def test_with_the_cookie_where_it_is_needed(self):
        response = ask("OPTIONS", "/cookie_needed_echo/000/a/xhr", {"Origin": "http://test"})
        self.assertTrue(response["set-cookie"].startswith("JSESSIONID=dummy"))
        self.assert_no_cookie(ask("OPTIONS", "/echo/000/a/xhr", {"Origin": "http://test"}))


class Readers(Case):
    def test_any_origin_may_read_and_is_named(self):
        for origin in (None, "http://test", "https://other.example:8443", "null"):
            headers = {"Origin": origin} if origin else {}
            url = session()
            for response in (
                get("/echo/info", headers),
                post(f"{url}/xhr", headers=headers),
                post(f"{url}/xhr_send", b'["a"]', headers),
                post(f"{url}/xhr_send", b"", headers),
                post(f"{session()}/xhr_send", b'["a"]', headers),
            ):
                self.assert_cors(response, origin)
            with Stream("POST", f"{session()}/xhr_streaming", headers) as stream:
                self.assert_cors(stream.response, origin)

    def test_an_event_source_without_an_origin_of_its_own_reads_as_anybody(self):
        with Stream("GET", f"{session()}/eventsource", {"Origin": "null"}) as stream:
            self.assert_cors(stream.response)
        with Stream("GET", f"{session()}/eventsource", {"Origin": "http://test"}) as stream:
            self.assert_cors(stream.response, "http://test")

    def test_what_scripts_and_frames_load_says_nothing_of_origins(self):
        headers = {"Origin": "http://test"}
        url = session()
        self.assert_no_cors(get(f"{url}/jsonp?c=x", headers))
        self.assert_no_cors(post(f"{url}/jsonp_send", b"d=%5B%5D", {**FORM, **headers}))
        with Stream("GET", f"{session()}/htmlfile?c=x", headers) as stream:
            self.assert_no_cors(stream.response)


class Caches(Case):
    def test_nothing_of_a_session_is_kept(self):
        url = session()
        for response in (
            post(f"{url}/xhr"),
            post(f"{url}/xhr_send", b'["a"]'),
            post(f"{url}/xhr"),
            get(f"{session()}/jsonp?c=x"),
            get("/echo/info"),
        ):
            self.assert_not_cached(response)
        for method, endpoint in (("POST", "xhr_streaming"), ("GET", "eventsource"), ("GET", "htmlfile?c=x")):
            with Stream(method, f"{session()}/{endpoint}") as stream:
                self.assert_not_cached(stream.response)


class Cookies(Case):
    def check(self, response, value="dummy"):
        self.assertEqual(response.status, 200)
        cookie, path = response["set-cookie"].split(";")
        self.assertEqual((cookie.strip(), path.lower().strip()), (f"JSESSIONID={value}", "path=/"))

    def test_every_answer_of_a_session_sets_it_where_it_is_needed(self):
        for headers, value in (({}, "dummy"), ({"Cookie": "JSESSIONID=abcdef"}, "abcdef"), ({"Cookie": "a=b; JSESSIONID=x; c=d"}, "x")):
            url = session("/cookie_needed_echo")
            self.check(post(f"{url}/xhr", headers=headers), value)
            sent = post(f"{url}/xhr_send", b'["a"]', headers)
            self.assertTrue(sent["set-cookie"].startswith(f"JSESSIONID={value}"))
            url = session("/cookie_needed_echo")
            self.check(get(f"{url}/jsonp?c=%63allback", headers), value)
            self.check(post(f"{url}/jsonp_send", b"d=%5B%22x%22%5D", {**FORM, **headers}), value)
            for method, endpoint in (("POST", "xhr_streaming"), ("GET", "eventsource"), ("GET", "htmlfile?c=x")):
                with Stream(method, f"{session('/cookie_needed_echo')}/{endpoint}", headers) as stream:
                    self.check(stream.response, value)

    def test_elsewhere_nothing_sets_it(self):
        url = session()
        self.assert_no_cookie(post(f"{url}/xhr", headers={"Cookie": "JSESSIONID=abcdef"}))
        self.assert_no_cookie(post(f"{url}/xhr_send", b'["a"]'))
