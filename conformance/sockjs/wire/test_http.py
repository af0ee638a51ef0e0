"""HTTP/1.0 and 1.1: how long an answer is, and whether another may follow."""

from support import Case, Connection, session

GREETING = b"Welcome to SockJS!\n"
CLOSE = b'c[3000,"Go away!"]\n'


class Http10(Case):
    def test_a_whole_answer_has_a_length_or_ends_with_the_connection(self):
        for headers in ({"Connection": "Keep-Alive"}, {"Connection": "close"}, {}):
            with Connection() as connection:
                connection.send("GET", "/echo", headers, version="1.0")
                head = connection.head()
                self.assertEqual(head.status, 200)
                self.assertIsNone(head["transfer-encoding"])
                if not head["content-length"]:
                    self.assertEqual(head["connection"].lower(), "close")
                    self.assertEqual(connection.input.read(), GREETING)
                    continue
                self.assertEqual(head["content-length"], str(len(GREETING)))
                self.assertEqual(connection.read(len(GREETING)), GREETING)
                if (head["connection"] or "close").lower() == "close":
                    self.assertTrue(connection.is_closed())
                else:
                    self.assertEqual((head["connection"].lower(), headers["Connection"]), ("keep-alive", "Keep-Alive"))
                    self.assertEqual(connection.ask("GET", "/echo", headers, version="1.0").status, 200)

    def test_a_stream_has_no_chunks_and_ends_with_the_connection(self):
        for headers in ({"Connection": "Keep-Alive"}, {}):
            with Connection() as connection:
                connection.send("POST", f"{session('/close')}/xhr_streaming", headers, version="1.0")
                head = connection.head()
                self.assertEqual(head.status, 200)
                self.assertIsNone(head["transfer-encoding"])
                self.assertIsNone(head["content-length"])
                self.assertIn((head["connection"] or "close").lower(), ("close",))
                self.assertEqual(connection.input.read(), b"h" * 2048 + b"\n" + b"o\n" + CLOSE)

    def test_polls_and_sends_work(self):
        url = session()
        with Connection() as connection:
            self.assert_polled(connection.ask("POST", f"{url}/xhr", version="1.0"), "o\n")
        with Connection() as connection:
            self.assert_sent(connection.ask("POST", f"{url}/xhr_send", None, b'["a"]', version="1.0"))
        with Connection() as connection:
            self.assert_polled(connection.ask("POST", f"{url}/xhr", version="1.0"), 'a["a"]\n')


class Http11(Case):
    def test_a_whole_answer_has_a_length_and_another_may_follow(self):
        with Connection() as connection:
            for _ in range(3):
                connection.send("GET", "/echo", {"Connection": "Keep-Alive"})
                head = connection.head()
                self.assertEqual(head.version, "1.1")
                self.assertIn((head["connection"] or "").lower(), ("", "keep-alive"))
                self.assertEqual(connection.body(head), GREETING)

    def test_a_stream_has_chunks_and_a_last_one(self):
        with Connection() as connection:
            connection.send("POST", f"{session('/close')}/xhr_streaming", {"Connection": "Keep-Alive"})
            head = connection.head()
            self.assertEqual((head.version, head.status), ("1.1", 200))
            self.assertEqual(head["transfer-encoding"].lower(), "chunked")
            self.assertIsNone(head["content-length"])
            chunks = [connection.chunk() for _ in range(4)]
            self.assertEqual(chunks, [b"h" * 2048 + b"\n", b"o\n", CLOSE, b""])

    def test_polls_follow_each_other_on_one_connection(self):
        url = session()
        with Connection() as receiving, Connection() as sending:
            self.assert_polled(receiving.ask("POST", f"{url}/xhr"), "o\n")
            for n in range(10):
                self.assert_sent(sending.ask("POST", f"{url}/xhr_send", None, f'["{n}"]'.encode()))
                self.assert_polled(receiving.ask("POST", f"{url}/xhr"), f'a["{n}"]\n')
