"""Section 6 of the wire: WebSockets with frames, and without."""

import uuid

from support import Case, Connection, WebSocket, ask, get, session


class NotOne(Case):
    def test_a_plain_request_is_no_websocket(self):
        for path in ("/echo/0/0/websocket", "/echo/websocket"):
            response = get(path)
            self.assertEqual((response.status, response.text), (400, "Not a valid websocket request"))
            for headers in ({"Upgrade": "WebSocket", "Connection": "close"}, {"Upgrade": "websocket"}, {"Connection": "Upgrade"}):
                self.assertEqual(get(path, headers).status, 400)

    def test_only_get_opens_one(self):
        for path in ("/echo/0/0/websocket", "/echo/websocket"):
            for headers in ({}, {"Upgrade": "WebSocket", "Connection": "Upgrade"}):
                self.assert_not_allowed(ask("POST", path, headers), {"GET"})

    def test_a_broken_handshake_is_refused(self):
        for change in ({"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": "short"}):
            with Connection() as connection:
                headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                           "Sec-WebSocket-Key": WebSocket.KEY, **change}  # fmt: skip
                connection.send("GET", "/echo/000/a/websocket", headers)
                self.assertIn(connection.head().status, (400, 426))

    def test_where_there_are_none_there_is_nothing(self):
        for path in ("/disabled_websocket_echo/000/a/websocket", "/disabled_websocket_echo/websocket"):
            response = get(path)
            self.assert_not_found(response)
            self.assert_cached_for_a_year(response)
            with Connection() as connection:
                headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                           "Sec-WebSocket-Key": WebSocket.KEY}  # fmt: skip
                connection.send("GET", path, headers)
                self.assertEqual(connection.head().status, 404)

    def test_other_endpoints_are_none(self):
        for path in ("/echo/000/a/eventsource", "/echo/000/a/htmlfile?c=x", "/echo/info", "/echo/iframe.html", "/echo/000/a/jsonp?c=x"):
            with WebSocket(path) as socket:
                self.assertGreaterEqual(socket.response.status, 400, path)
                self.assertLess(socket.response.status, 500, path)


class Framed(Case):
    def test_the_handshake_is_one(self):
        for connection in ("Upgrade", "keep-alive, Upgrade", "upgrade"):
            socket = WebSocket(f"{session()}/websocket", {"Sec-WebSocket-Origin": "http://asd"}, connection)
            self.assertEqual(socket.response.status, 101)
            self.assertEqual(socket.response["sec-websocket-accept"], WebSocket.accept())
            self.assertEqual(socket.response["connection"].lower(), "upgrade")
            self.assertEqual(socket.response["upgrade"].lower(), "websocket")
            self.assertIsNone(socket.response["content-length"])
            self.assertIsNone(socket.response["sec-websocket-protocol"])
            socket.leave()

    def test_messages_come_back_in_frames(self):
        socket = WebSocket(f"{session()}/websocket")
        self.assertEqual(socket.hear(), "o")
        socket.say('["a"]')
        self.assertEqual(socket.hear(), 'a["a"]')
        heard = []
        socket.say('["b","c"]')
        while len(heard) < 2:
            heard += __import__("json").loads(socket.hear()[1:])
        self.assertEqual(heard, ["b", "c"])
        socket.leave()

    def test_nothing_is_ignored(self):
        socket = WebSocket(f"{session()}/websocket")
        self.assertEqual(socket.hear(), "o")
        for nothing in ("", "[]", '["a"]'):
            socket.say(nothing)
        self.assertEqual(socket.hear(), 'a["a"]')
        socket.leave()

    def test_a_single_value_is_one_message(self):
        socket = WebSocket(f"{session()}/websocket")
        self.assertEqual(socket.hear(), "o")
        socket.say('"a"')
        self.assertEqual(socket.hear(), 'a["a"]')
        socket.leave()

    def test_escapes_are_those_of_every_transport(self):
        socket = WebSocket(f"{session()}/websocket")
        self.assertEqual(socket.hear(), "o")
        socket.say('["\\ud83d\\ude00 \\u2028 %"]')
        self.assertEqual(socket.hear(), 'a["\\ud83d\\ude00 \\u2028 %"]')
        socket.leave()

    def test_broken_framing_ends_it(self):
        for broken in ('["a', "x", "[1", "{"):
            with WebSocket(f"{session()}/websocket") as socket:
                self.assertEqual(socket.hear(), "o")
                socket.say(broken)
                self.assertEqual(socket.closing(), (3000, "Broken framing."))
                self.assertTrue(socket.is_closed())

    def test_the_server_closes_with_a_frame_and_then_for_good(self):
        with WebSocket(f"{session('/close')}/websocket") as socket:
            self.assertEqual(socket.hear(), "o")
            self.assertEqual(socket.hear(), 'c[3000,"Go away!"]')
            self.assertEqual(socket.closing()[0], 1000)
            self.assertTrue(socket.is_closed())

    def test_a_session_id_may_be_used_by_many_and_again(self):
        path = f"{session()}/websocket"
        first, second = WebSocket(path), WebSocket(path)
        self.assertEqual((first.hear(), second.hear()), ("o", "o"))
        first.say('["a"]')
        second.say('["b"]')
        self.assertEqual((first.hear(), second.hear()), ('a["a"]', 'a["b"]'))
        first.leave()
        second.leave()
        third = WebSocket(path)
        self.assertEqual(third.hear(), "o")
        third.say('["c"]')
        self.assertEqual(third.hear(), 'a["c"]')
        third.leave()

    def test_it_is_no_session_of_the_other_transports(self):
        url = session()
        socket = WebSocket(f"{url}/websocket")
        self.assertEqual(socket.hear(), "o")
        self.assert_not_found(ask("POST", f"{url}/xhr_send", None, b'["a"]'))
        self.assert_polled(ask("POST", f"{url}/xhr"), "o\n")
        socket.leave()


class Raw(Case):
    def test_messages_come_back_as_they_are(self):
        socket = WebSocket("/echo/websocket")
        self.assertEqual(socket.response.status, 101)
        for text in ("Hello world!\uffff", "", '["a"]', "x" * 70_000):
            socket.say(text)
            self.assertEqual(socket.hear(), text)
        socket.leave()

    def test_the_server_closes_with_its_own_code(self):
        with WebSocket("/close/websocket") as socket:
            self.assertEqual(socket.closing(), (3000, "Go away!"))
            self.assertTrue(socket.is_closed())

    def test_there_is_no_o(self):
        socket = WebSocket("/echo/websocket")
        unique = str(uuid.uuid4())
        socket.say(unique)
        self.assertEqual(socket.hear(), unique)
        socket.leave()
