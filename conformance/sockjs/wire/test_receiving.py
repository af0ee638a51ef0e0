"""Section 3 of the wire: frames, and how each transport wraps them."""

import json

from support import Case, Poll, Stream, get, post, session

LIMIT = 4096

HTML_FILE = """<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.CALLBACK;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>"""


class XhrPolling(Case):
    def test_each_answer_is_one_frame(self):
        url = session()
        opened = post(f"{url}/xhr")
        self.assert_polled(opened, "o\n")
        self.assert_type(opened, "application/javascript;charset=UTF-8")
        self.assert_cors(opened)
        self.assert_not_cached(opened)
        self.assert_sent(post(f"{url}/xhr_send", b'["a"]'))
        self.assert_polled(post(f"{url}/xhr"), 'a["a"]\n')

    def test_messages_that_wait_come_in_one_frame(self):
        url = self.open_by_polling()
        for body in (b'["1"]', b'["2","3"]', b'["4"]'):
            self.assert_sent(post(f"{url}/xhr_send", body))
        self.assert_polled(post(f"{url}/xhr"), 'a["1","2","3","4"]\n')

    def test_a_poll_waits_for_something_to_say(self):
        url = self.open_by_polling()
        with Poll("POST", f"{url}/xhr") as poll:
            self.assert_sent(post(f"{url}/xhr_send", b'["late"]'))
            self.assertEqual(poll.answer(), b'a["late"]\n')


class XhrStreaming(Case):
    def test_prelude_and_frames_are_chunks_of_their_own(self):
        url = session()
        with Stream("POST", f"{url}/xhr_streaming") as stream:
            self.assertEqual(stream.response.status, 200)
            self.assert_type(stream.response, "application/javascript;charset=UTF-8")
            self.assert_cors(stream.response)
            self.assert_not_cached(stream.response)
            self.assertIsNone(stream.response["content-length"])
            self.assertEqual(stream.chunk(), b"h" * 2048 + b"\n")
            self.assertEqual(stream.chunk(), b"o\n")
            for text in (b'["x"]', b'["y"]'):
                self.assert_sent(post(f"{url}/xhr_send", text))
                self.assertEqual(stream.chunk(), b"a" + text + b"\n")

    def test_the_response_ends_after_so_many_bytes_and_goes_on_in_the_next(self):
        url = session()
        text = b'["' + b"x" * 128 + b'"]'
        with Stream("POST", f"{url}/xhr_streaming") as stream:
            self.assertTrue(stream.chunk())
            self.assertEqual(stream.chunk(), b"o\n")
            # Two bytes, and 134 a message: the prelude does not count, what is around a message does.
            for _ in range(31):
                self.assert_sent(post(f"{url}/xhr_send", text))
                self.assertEqual(stream.chunk(), b"a" + text + b"\n")
            self.assertEqual(stream.chunk(), b"")
        with Stream("POST", f"{url}/xhr_streaming") as stream:
            self.assertTrue(stream.chunk())
            self.assert_sent(post(f"{url}/xhr_send", b'["on"]'))
            self.assertEqual(stream.chunk(), b'a["on"]\n', "no second o")

    def test_nothing_is_lost_between_two_responses(self):
        url = session()
        sent = [f"{n} " + "x" * (n * 37 % 900) for n in range(120)]
        heard, responses = [], 0
        with Stream("POST", f"{url}/xhr_streaming") as stream:
            self.assertEqual((len(stream.chunk()), stream.chunk()), (2049, b"o\n"))
            for text in sent[:60]:
                self.assert_sent(post(f"{url}/xhr_send", json.dumps([text]).encode()))
            while chunk := stream.chunk():
                heard += json.loads(chunk[1:])
        for text in sent[60:]:
            self.assert_sent(post(f"{url}/xhr_send", json.dumps([text]).encode()))
        while len(heard) < len(sent):
            responses += 1
            with Stream("POST", f"{url}/xhr_streaming") as stream:
                self.assertTrue(stream.chunk())
                while len(heard) < len(sent) and (chunk := stream.chunk()):
                    heard += json.loads(chunk[1:])
        self.assertEqual(heard, sent)
        self.assertGreater(responses, 0)


class EventSource(Case):
    def test_frames_are_events(self):
        url = session()
        with Stream("GET", f"{url}/eventsource") as stream:
            self.assertEqual(stream.response.status, 200)
            self.assert_type(stream.response, "text/event-stream")
            self.assert_not_cached(stream.response)
            self.assertEqual(stream.chunk(), b"\r\n")
            self.assertEqual(stream.chunk(), b"data: o\r\n\r\n")
            self.assert_sent(post(f"{url}/xhr_send", b'["x"]'))
            self.assertEqual(stream.chunk(), b'data: a["x"]\r\n\r\n')
            self.assert_sent(post(f"{url}/xhr_send", rb'["  \u0000\n\r "]'))
            self.assertEqual(stream.chunk(), b'data: a["  \\u0000\\n\\r "]\r\n\r\n')

    def test_a_percent_sign_is_one_after_decode_uri(self):
        url = session()
        with Stream("GET", f"{url}/eventsource") as stream:
            stream.chunk(), stream.chunk()
            self.assert_sent(post(f"{url}/xhr_send", '["100 % %41 é"]'.encode()))
            self.assertEqual(stream.chunk().decode(), 'data: a["100 %25 %2541 é"]\r\n\r\n')

    def test_the_response_ends_after_so_many_bytes(self):
        url = session()
        text = b'["' + b"x" * LIMIT + b'"]'
        with Stream("GET", f"{url}/eventsource") as stream:
            self.assertEqual((stream.chunk(), stream.chunk()), (b"\r\n", b"data: o\r\n\r\n"))
            self.assert_sent(post(f"{url}/xhr_send", text))
            self.assertEqual(stream.chunk(), b"data: a" + text + b"\r\n\r\n")
            self.assertEqual(stream.chunk(), b"")


class HtmlFile(Case):
    def test_frames_are_scripts(self):
        url = session()
        with Stream("GET", f"{url}/htmlfile?c=%63allback") as stream:
            self.assertEqual(stream.response.status, 200)
            self.assert_type(stream.response, "text/html;charset=UTF-8")
            self.assert_not_cached(stream.response)
            self.assertEqual(stream.response["x-content-type-options"], "nosniff")
            head = stream.chunk()
            self.assertGreater(len(head), 1024)
            self.assertEqual(head.decode().strip(), HTML_FILE.replace("CALLBACK", "callback"))
            self.assertTrue(head.endswith(b"\r\n\r\n"))
            self.assertEqual(stream.chunk(), b'<script>\np("o");\n</script>\r\n')
            self.assert_sent(post(f"{url}/xhr_send", b'["x"]'))
            self.assertEqual(stream.chunk(), b'<script>\np("a[\\"x\\"]");\n</script>\r\n')

    def test_no_message_ends_the_script(self):
        url = session()
        with Stream("GET", f"{url}/htmlfile?c=c") as stream:
            stream.chunk(), stream.chunk()
            self.assert_sent(post(f"{url}/xhr_send", b'["</script>"]'))
            self.assertEqual(stream.chunk(), b'<script>\np("a[\\"\\u003c/script>\\"]");\n</script>\r\n')

    def test_the_response_ends_after_so_many_bytes(self):
        url = session()
        text = b"x" * LIMIT
        with Stream("GET", f"{url}/htmlfile?callback=callback") as stream:
            self.assertTrue(stream.chunk())
            self.assertEqual(stream.chunk(), b'<script>\np("o");\n</script>\r\n')
            self.assert_sent(post(f"{url}/xhr_send", b'["' + text + b'"]'))
            self.assertEqual(stream.chunk(), b'<script>\np("a[\\"' + text + b'\\"]");\n</script>\r\n')
            self.assertEqual(stream.chunk(), b"")


class JsonpPolling(Case):
    def test_each_answer_is_one_call(self):
        url = session()
        opened = get(f"{url}/jsonp?c=%63allback")
        self.assert_polled(opened, '/**/callback("o");\r\n')
        self.assert_type(opened, "application/javascript;charset=UTF-8")
        self.assertEqual(opened["x-content-type-options"], "nosniff")
        self.assert_not_cached(opened)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(post(f"{url}/jsonp_send", b"d=%5B%22x%22%5D", form).text, "ok")
        self.assert_polled(get(f"{url}/jsonp?callback=%63allback"), '/**/callback("a[\\"x\\"]");\r\n')

    def test_a_closed_session_says_so_each_time(self):
        url = session("/close")
        self.assert_polled(get(f"{url}/jsonp?c=x"), '/**/x("o");\r\n')
        for _ in range(2):
            self.assert_polled(get(f"{url}/jsonp?c=x"), '/**/x("c[3000,\\"Go away!\\"]");\r\n')


class Callbacks(Case):
    def test_there_has_to_be_one(self):
        for endpoint in ("jsonp", "htmlfile"):
            for query in ("", "?", "?c", "?c=", "?d=x"):
                response = get(f"{session()}/{endpoint}{query}")
                self.assertEqual((response.status, response.text), (500, '"callback" parameter required'), query)

    def test_it_is_a_plain_name(self):
        for endpoint in ("jsonp", "htmlfile"):
            for callback in ("%20", "*", "abc(", "abc%28", "%3Cscript%3E", "a%00", "%C3%A9", "a)//", "x=1", "%E2%80%A8", "a%2"):
                response = get(f"{session()}/{endpoint}?c={callback}")
                self.assertEqual((response.status, response.text), (500, 'invalid "callback" parameter'), callback)

    def test_that_of_jsonp_has_at_most_32_characters(self):
        self.assertEqual(get(f"{session()}/jsonp?c={'a' * 32}").status, 200)
        self.assertEqual(get(f"{session()}/jsonp?c={'a' * 33}").status, 500)

    def test_a_refused_callback_opens_nothing(self):
        url = session()
        self.assertEqual(get(f"{url}/jsonp?c=%28").status, 500)
        self.assert_not_found(post(f"{url}/xhr_send", b'["a"]'))
