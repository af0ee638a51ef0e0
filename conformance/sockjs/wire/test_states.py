"""Section 5 of the wire: what a session is, from its first receiver to the end. What takes its time is done at once, beside each other."""

import time
from concurrent.futures import ThreadPoolExecutor

from support import Case, Poll, Stream, get, post, session

# As long as a session lives without a receiver, and a bit.
DELAY_S = 5
SLACK_S = 3


class Receivers(Case):
    def test_there_is_one_at_a_time(self):
        url = self.open_by_polling()
        with Poll("POST", f"{url}/xhr") as first:
            time.sleep(0.1)
            self.assert_polled(post(f"{url}/xhr"), 'c[2010,"Another connection still open"]\n')
            self.assert_sent(post(f"{url}/xhr_send", b'["a"]'))
            self.assertEqual(first.answer(), b'a["a"]\n', "the first is not disturbed")

    def test_a_second_stream_is_told_after_its_prelude(self):
        url = session()
        with Stream("POST", f"{url}/xhr_streaming") as first, Stream("POST", f"{url}/xhr_streaming") as second:
            self.assertEqual((len(first.chunk()), first.chunk()), (2049, b"o\n"))
            self.assertEqual((len(second.chunk()), second.chunk()), (2049, b'c[2010,"Another connection still open"]\n'))
            self.assertEqual(second.chunk(), b"")
            self.assert_sent(post(f"{url}/xhr_send", b'["a"]'))
            self.assertEqual(first.chunk(), b'a["a"]\n')

    def test_transports_may_take_turns(self):
        url = self.open_by_polling()
        with Poll("POST", f"{url}/xhr") as poll:
            self.assert_sent(post(f"{url}/xhr_send", b'["a"]'))
            self.assertEqual(poll.answer(), b'a["a"]\n')
        with Stream("GET", f"{url}/eventsource") as events:
            self.assertEqual(events.chunk(), b"\r\n")
            self.assert_sent(post(f"{url}/xhr_send", b'["b"]'))
            self.assertEqual(events.chunk(), b'data: a["b"]\r\n\r\n')

    def after_a_cut(self, url, method, endpoint, frames):
        """What a receiver hears soon after another one broke; the server may need a moment to see it."""
        end = time.monotonic() + SLACK_S
        while True:
            with Poll(method, f"{url}/{endpoint}") as poll:
                head = poll.head()
                if frames == 1:
                    heard = poll.body(head)
                else:
                    poll.chunk()
                    heard = poll.chunk()
            if b"2010" not in heard or time.monotonic() > end:
                return heard

    def test_a_stream_that_breaks_ends_the_session(self):
        url = session()
        with Stream("POST", f"{url}/xhr_streaming") as first:
            self.assertEqual((len(first.chunk()), first.chunk()), (2049, b"o\n"))
            with Stream("POST", f"{url}/xhr_streaming") as second:
                second.chunk()
                self.assertEqual(second.chunk(), b'c[2010,"Another connection still open"]\n')
        heard = self.after_a_cut(url, "POST", "xhr_streaming", 2)
        self.assertIn(heard, (b"o\n", b'c[1002,"Connection interrupted"]\n'))

    def test_a_poll_that_breaks_ends_the_session(self):
        url = self.open_by_polling()
        with Poll("POST", f"{url}/xhr"):
            time.sleep(0.1)
            self.assert_polled(post(f"{url}/xhr"), 'c[2010,"Another connection still open"]\n')
        heard = self.after_a_cut(url, "POST", "xhr", 1)
        self.assertIn(heard, (b"o\n", b'c[1002,"Connection interrupted"]\n'))


class Closing(Case):
    def test_whoever_comes_is_told(self):
        url = session("/close")
        self.assert_polled(post(f"{url}/xhr"), "o\n")
        for _ in range(3):
            self.assert_polled(post(f"{url}/xhr"), 'c[3000,"Go away!"]\n')

    def test_a_stream_is_told_and_ends_and_so_is_the_next(self):
        for method, endpoint, wrap in (
            ("POST", "xhr_streaming", "{}\n"),
            ("GET", "eventsource", "data: {}\r\n\r\n"),
            ("GET", "htmlfile?c=c", '<script>\np("{}");\n</script>\r\n'),
        ):
            url = session("/close")
            close = 'c[3000,"Go away!"]'
            close = wrap.format(close.replace('"', '\\"') if "htmlfile" in endpoint else close).encode()
            with Stream(method, f"{url}/{endpoint}") as first:
                first.chunk()
                self.assertEqual(first.chunk(), wrap.format("o").encode())
                self.assertEqual(first.chunk(), close)
                with Stream(method, f"{url}/{endpoint}") as second:
                    second.chunk()
                    self.assertEqual(second.chunk(), close, "and not 2010")
                    self.assertEqual((first.chunk(), second.chunk()), (b"", b""))


class Times(Case):
    """Each scenario runs in a thread of its own from the beginning; the tests look at what came of them."""

    @classmethod
    def setUpClass(cls):
        cls.pool = ThreadPoolExecutor(8)
        names = [name for name in dir(cls) if name.startswith("scene_")]
        cls.scenes = {name[6:]: cls.pool.submit(getattr(cls, name)) for name in names}

    @classmethod
    def tearDownClass(cls):
        cls.pool.shutdown()

    @staticmethod
    def scene_deserted():
        url = session()
        heard = [post(f"{url}/xhr").text]
        time.sleep(DELAY_S - 2)
        heard.append(post(f"{url}/xhr_send", b'["a"]').status)
        time.sleep(2 + SLACK_S)
        return [*heard, post(f"{url}/xhr_send", b'["b"]').status, post(f"{url}/xhr").text]

    def test_a_session_without_a_receiver_is_forgotten_after_5_s_and_sending_does_not_keep_it(self):
        self.assertEqual(self.scenes["deserted"].result(), ["o\n", 204, 404, "o\n"])

    @staticmethod
    def scene_visited():
        url = session()
        heard = [post(f"{url}/xhr").text]
        for n in range(3):
            time.sleep(DELAY_S - 2)
            post(f"{url}/xhr_send", f'["{n}"]'.encode())
            heard.append(post(f"{url}/xhr").text)
        return heard

    def test_every_receiver_lets_it_live_for_another_5_s(self):
        self.assertEqual(self.scenes["visited"].result(), ["o\n", 'a["0"]\n', 'a["1"]\n', 'a["2"]\n'])

    @staticmethod
    def scene_closed():
        url = session("/close")
        heard = [post(f"{url}/xhr").text, post(f"{url}/xhr").text]
        time.sleep(DELAY_S - 2)
        heard.append(post(f"{url}/xhr").text)
        time.sleep(2 + SLACK_S)
        return [*heard, post(f"{url}/xhr_send", b'["b"]').status, post(f"{url}/xhr").text]

    def test_a_closed_session_is_told_for_5_s_and_forgotten(self):
        close = 'c[3000,"Go away!"]\n'
        self.assertEqual(self.scenes["closed"].result(), ["o\n", close, close, 404, "o\n"])

    @staticmethod
    def beat(method, endpoint, preludes):
        url = session()
        if endpoint == "xhr":
            post(f"{url}/xhr")
        elif endpoint.startswith("jsonp"):
            get(f"{url}/{endpoint}")
        start = time.monotonic()
        with Poll(method, f"{url}/{endpoint}", timeout=35) as stream:
            head = stream.head()
            for _ in range(preludes):
                stream.chunk()
            heard = stream.chunk() if preludes else stream.body(head)
            took = time.monotonic() - start
            if preludes:
                post(f"{url}/xhr_send", b'["x"]')
                heard += stream.chunk()
        return heard, took

    @classmethod
    def scene_beat_xhr(cls):
        return cls.beat("POST", "xhr", 0)

    @classmethod
    def scene_beat_jsonp(cls):
        return cls.beat("GET", "jsonp?c=x", 0)

    @classmethod
    def scene_beat_xhr_streaming(cls):
        return cls.beat("POST", "xhr_streaming", 2)

    @classmethod
    def scene_beat_eventsource(cls):
        return cls.beat("GET", "eventsource", 2)

    def test_a_receiver_hears_a_heartbeat_after_25_s_and_a_poll_ends_with_it(self):
        for name, expected in (
            ("xhr", b"h\n"),
            ("jsonp", b'/**/x("h");\r\n'),
            ("xhr_streaming", b'h\na["x"]\n'),
            ("eventsource", b'data: h\r\n\r\ndata: a["x"]\r\n\r\n'),
        ):
            heard, took = self.scenes[f"beat_{name}"].result()
            self.assertEqual(heard, expected)
            self.assertTrue(23 < took < 30, took)
