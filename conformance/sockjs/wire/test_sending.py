"""Section 4 of the wire: what clients send, and what they are answered."""

import json

from support import Case, Connection, get, post, session

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EXPECTED = "Payload expected."
BROKEN = "Broken JSON encoding."


class XhrSend(Case):
    def test_what_was_taken_is_answered_with_nothing(self):
        url = self.open_by_polling()
        response = post(f"{url}/xhr_send", b'["x"]')
        self.assert_sent(response)
        # Firefox would take it for XML otherwise, and shout.
        self.assert_type(response, "text/plain;charset=UTF-8")
        self.assert_cors(response)
        self.assert_not_cached(response)

    def test_an_empty_array_is_taken_and_says_nothing(self):
        url = self.open_by_polling()
        for body in (b"[]", b" [ ] ", b'["a"]'):
            self.assert_sent(post(f"{url}/xhr_send", body))
        self.assert_polled(post(f"{url}/xhr"), 'a["a"]\n')

    def test_what_is_no_array_is_refused(self):
        url = self.open_by_polling()
        for body in (b"", b"{}", b'"s"', b"1", b"null", b"true"):
            response = post(f"{url}/xhr_send", body)
            self.assertEqual((response.status, response.text), (500, EXPECTED), body)

    def test_what_is_broken_is_refused_and_changes_nothing(self):
        url = self.open_by_polling()
        for body in (b'["x', b"[", b"x", b'["a"]]', b'["a",]', b"['a']", b'["\\x"]', b'["a\n"]', b'["\xff"]', b" "):
            response = post(f"{url}/xhr_send", body)
            self.assertEqual((response.status, response.text), (500, BROKEN), body)
        self.assert_sent(post(f"{url}/xhr_send", b'["a"]'))
        self.assert_polled(post(f"{url}/xhr"), 'a["a"]\n')

    def test_messages_are_strings(self):
        url = self.open_by_polling()
        for body in (b"[1]", b"[{}]", b"[null]", b'["a",["b"]]'):
            response = post(f"{url}/xhr_send", body)
            self.assertEqual((response.status, response.text), (500, BROKEN), body)
        self.assert_sent(post(f"{url}/xhr_send", b'["a"]'))
        self.assert_polled(post(f"{url}/xhr"), 'a["a"]\n')

    def test_an_unknown_session_is_not_found_and_not_made(self):
        url = session()
        self.assert_not_found(post(f"{url}/xhr_send", b'["x"]'))
        self.assert_not_found(post(f"{url}/xhr_send", b'["x"]'))
        self.assert_polled(post(f"{url}/xhr"), "o\n")

    def test_the_body_is_looked_at_before_the_session(self):
        self.assertEqual(post(f"{session()}/xhr_send", b"").status, 500)
        self.assertEqual(post(f"{session()}/xhr_send", b'["x').status, 500)

    def test_a_closing_session_takes_and_drops(self):
        url = session("/close")
        self.assert_polled(post(f"{url}/xhr"), "o\n")
        self.assert_polled(post(f"{url}/xhr"), 'c[3000,"Go away!"]\n')
        self.assert_sent(post(f"{url}/xhr_send", b'["x"]'))

    def test_media_types(self):
        url = self.open_by_polling()
        types = ["text/plain", "T", "application/json", "application/xml", "", "application/json; charset=utf-8",
                 "text/xml; charset=utf-8", "text/xml", "TEXT/PLAIN"]  # fmt: skip
        for media_type in types:
            self.assert_sent(post(f"{url}/xhr_send", b'["a"]', {"Content-Type": media_type}))
        for media_type in ("text/html", "application/x-www-form-urlencoded", "multipart/form-data"):
            response = post(f"{url}/xhr_send", b'["a"]', {"Content-Type": media_type})
            self.assertEqual((response.status, response.text), (500, EXPECTED), media_type)
        self.assert_polled(post(f"{url}/xhr"), "a[" + ",".join(['"a"'] * len(types)) + "]\n")

    def test_a_body_may_come_in_chunks(self):
        url = self.open_by_polling()
        self.assert_sent(post(f"{url}/xhr_send", None, chunks=[b'["a', b'b","', b'c"]']))
        self.assert_polled(post(f"{url}/xhr"), 'a["ab","c"]\n')

    def test_requests_follow_each_other_on_one_connection(self):
        url = self.open_by_polling()
        with Connection() as connection:
            for n in range(20):
                self.assert_sent(connection.ask("POST", f"{url}/xhr_send", None, f'["{n}"]'.encode()))
        self.assert_polled(post(f"{url}/xhr"), "a" + json.dumps([str(n) for n in range(20)], separators=(",", ":")) + "\n")


class Bounds(Case):
    def test_a_large_body_is_refused_before_it_is_read(self):
        url = self.open_by_polling()
        with Connection() as connection:
            head = f"POST {url}/xhr_send HTTP/1.1\r\nHost: a\r\nContent-Length: {10 << 20}\r\n\r\n"
            connection.socket.sendall(head.encode())
            self.assertEqual(connection.head().status, 413)

    def test_a_large_body_in_chunks_is_refused(self):
        url = self.open_by_polling()
        with Connection() as connection:
            head = f"POST {url}/xhr_send HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.socket.sendall(head.encode())
            chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
            try:
                for _ in range(160):
                    connection.socket.sendall(chunk)
            except OSError:
                pass  # It has seen enough.
            self.assertEqual(connection.head().status, 413)

    def test_more_messages_than_a_request_may_bring_are_refused(self):
        url = self.open_by_polling()
        self.assertEqual(post(f"{url}/xhr_send", json.dumps([""] * 16_385).encode()).status, 413)
        self.assert_sent(post(f"{url}/xhr_send", json.dumps(["a"] * 16_384).encode()))
        heard = []
        while len(heard) < 16_384:
            heard += json.loads(post(f"{url}/xhr").text[1:])
        self.assertEqual(heard, ["a"] * 16_384)


class JsonpSend(Case):
    def open(self):
        url = session()
        self.assert_polled(get(f"{url}/jsonp?c=x"), '/**/x("o");\r\n')
        return url

    def test_what_was_taken_is_ok(self):
        url = self.open()
        response = post(f"{url}/jsonp_send", b"d=%5B%22x%22%5D", FORM)
        self.assertEqual((response.status, response.text), (200, "ok"))
        self.assertEqual(response["content-length"], "2")
        self.assert_type(response, "text/plain;charset=UTF-8")
        self.assert_not_cached(response)
        self.assert_no_cors(response)

    def test_a_form_is_decoded_and_a_text_is_not(self):
        url = self.open()
        self.assertEqual(post(f"{url}/jsonp_send", b"d=%5B%22abc%22%5D", FORM).text, "ok")
        self.assertEqual(post(f"{url}/jsonp_send", b'["%61bc"]', {"Content-Type": "text/plain"}).text, "ok")
        self.assertEqual(post(f"{url}/jsonp_send", b"d=%5B%22a+b%2B%22%5D", FORM).text, "ok")
        self.assert_polled(get(f"{url}/jsonp?c=x"), '/**/x("a[\\"abc\\",\\"%61bc\\",\\"a b+\\"]");\r\n')

    def test_an_empty_array_is_taken_and_says_nothing(self):
        url = self.open()
        self.assertEqual(post(f"{url}/jsonp_send", b"d=%5B%5D", FORM).text, "ok")
        self.assertEqual(post(f"{url}/jsonp_send", b"d=%5B%22x%22%5D", FORM).text, "ok")
        self.assert_polled(get(f"{url}/jsonp?c=x"), '/**/x("a[\\"x\\"]");\r\n')

    def test_what_is_missing_or_broken_is_refused_and_changes_nothing(self):
        url = self.open()
        for body, said in ((b"", EXPECTED), (b"d=", EXPECTED), (b"p=p", EXPECTED), (b"d=%7B%7D", EXPECTED), (b"d=%5B%22x", BROKEN)):
            response = post(f"{url}/jsonp_send", body, FORM)
            self.assertEqual((response.status, response.text), (500, said), body)
        self.assertEqual(post(f"{url}/jsonp_send", b"d=%5B%22b%22%5D", FORM).text, "ok")
        self.assert_polled(get(f"{url}/jsonp?c=x"), '/**/x("a[\\"b\\"]");\r\n')

    def test_an_unknown_session_is_not_found(self):
        self.assert_not_found(post(f"{session()}/jsonp_send", b"d=%5B%22x%22%5D", FORM))


class Encoding(Case):
    @staticmethod
    def is_escaped(code):
        return any(code in each for each in (range(0x20), range(0x200C, 0x2010), range(0x2028, 0x2030), range(0x2060, 0x2070),
                                             range(0xFFF0, 0x10000)))  # fmt: skip

    def test_the_server_escapes_what_browsers_mangle(self):
        url = self.open_by_polling()
        escaped = '"' + "".join(f"\\u{code:04x}" for code in range(0xFF, 0x10000) if self.is_escaped(code)) + '"'
        self.assert_sent(post(f"{url}/xhr_send", f'["{json.loads(escaped)}"]'.encode()))
        self.assert_polled(post(f"{url}/xhr"), f"a[{escaped}]\n")

    def test_the_server_reads_what_clients_escape(self):
        url = self.open_by_polling()
        killers = [range(0x20), range(0x7F, 0xA0), (0xAD,), range(0x600, 0x605), (0x70F, 0x17B4, 0x17B5), range(0x2000, 0x2100),
                   range(0x300, 0x334), (0xFEFF, 0xFB4E), range(0xF900, 0xFA6E), range(0xFFF0, 0x10000)]  # fmt: skip
        text = '"' + "".join(f"\\u{code:04x}" for each in killers for code in each) + '"'
        self.assert_sent(post(f"{url}/xhr_send", f"[{text}]".encode()))
        response = post(f"{url}/xhr")
        self.assertEqual(json.loads(response.text[1:]), [json.loads(text)])

    def test_characters_beyond_the_plane_leave_as_pairs(self):
        url = self.open_by_polling()
        self.assert_sent(post(f"{url}/xhr_send", '["😀","\\ud83d\\ude00"]'.encode()))
        self.assert_polled(post(f"{url}/xhr"), 'a["\\ud83d\\ude00","\\ud83d\\ude00"]\n')

    def test_half_a_pair_becomes_the_replacement_character(self):
        url = self.open_by_polling()
        self.assert_sent(post(f"{url}/xhr_send", b'["a\\ud83db","\\udc00"]'))
        self.assert_polled(post(f"{url}/xhr"), 'a["a\\ufffdb","\\ufffd"]\n')
