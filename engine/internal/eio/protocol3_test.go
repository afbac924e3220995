package eio

import (
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/engine/internal/ws"
)

// openPolling3 makes a polling session of revision 3.
func (f *fixture) openPolling3(more string) (query string, o *owner) {
	f.t.Helper()
	a := f.get("EIO=3&transport=polling" + more)
	_, packet, ok := strings.Cut(a.body, ":")
	if !ok {
		f.t.Fatalf("%d %q", a.status, a.body)
	}
	return "EIO=3&transport=polling&sid=" + f.parseOpen(packet).SID + more, f.owner()
}

func TestProtocol3Polling(t *testing.T) {
	f := newFixture(t, plain, Config{AllowEIO3: true}, echoing)
	for _, c := range []struct{ more, contentType, body, answer string }{
		{"", "text/plain", "6:4hello", "6:4hello"},
		{"", "text/plain", "6:4test16:4test2", "6:4test16:4test2"},
		{"", "text/plain", "5:4€é😀2:4x", "5:4€é😀2:4x"},
		{"", "text/plain", "1:2", "1:3"},
		{"", "text/plain", "6:2probe", "6:3probe"},
		{"", "text/plain", "2:4a10:b4AQIDBA==", "\x00\x02\xff4a\x01\x05\xff\x04\x01\x02\x03\x04"},
		{"&b64=1", "text/plain", "2:4a10:b4AQIDBA==", "2:4a10:b4AQIDBA=="},
		{
			"", "application/octet-stream", "\x00\x02\xff4a\x01\x05\xff\x04\x01\x02\x03\x04",
			"\x00\x02\xff4a\x01\x05\xff\x04\x01\x02\x03\x04",
		},
	} {
		query, _ := f.openPolling3(c.more)
		if a := f.do("POST", query, c.body, "Content-Type", c.contentType); a.status != 200 || a.body != "ok" {
			t.Fatalf("%q: %d %q", c.body, a.status, a.body)
		}
		a := f.get(query)
		if a.body != c.answer {
			t.Errorf("%q: %q", c.body, a.body)
		}
		if binary := a.header.Get("Content-Type") == "application/octet-stream"; binary != (c.answer[0] == 0) {
			t.Errorf("%q: %v", c.body, a.header)
		}
	}
	query, o := f.openPolling3("")
	if a := f.post(query, "abc"); a.status != 400 {
		t.Errorf("status %d", a.status)
	}
	o.expectClose(ReasonParseError)
	query, o = f.openPolling3("")
	f.post(query, "1:3")
	o.expectClose(ReasonTransportError)
	query, o = f.openPolling3("")
	waits := f.goGet(query)
	o.waiting()
	f.post(query, "1:1")
	if a := f.await(waits); a.body != "1:6" {
		t.Errorf("the poll got %q", a.body)
	}
	o.expectClose(ReasonTransportClose)
}

func TestProtocol3JSONP(t *testing.T) {
	f := newFixture(t, plain, Config{AllowEIO3: true, HTTPCompression: &Compression{Threshold: 1 << 20}}, echoing)
	a := f.get("EIO=3&transport=polling&j=4&b64=1")
	body, ok := strings.CutPrefix(a.body, `___eio[4]("`)
	if !ok || !strings.HasSuffix(body, `");`) || a.header.Get("Content-Type") != "text/javascript; charset=UTF-8" {
		t.Fatalf("%v %s", a.header, a.body)
	}
	sid := f.owner().ID()
	query := "EIO=3&transport=polling&j=4&b64=1&sid=" + sid
	if a := f.do("POST", query, "d=7%3A4a%5Cn%26%3D%2B%22", "Content-Type",
		"application/x-www-form-urlencoded"); a.body != "ok" {
		t.Errorf("%d %q", a.status, a.body)
	}
	if a := f.get(query); a.body != `___eio[4]("7:4a\n&=+\"");` {
		t.Errorf("%s", a.body)
	}
	if a := f.post(query, "x"); a.status != 400 {
		t.Errorf("%d", a.status)
	}
}

func TestProtocol3WebSocket(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{AllowEIO3: true}, echoing)
		p := f.dial("EIO=3&transport=websocket")
		p.expectOpen()
		o := f.owner()
		if o.Protocol() != 3 {
			t.Error(o.Protocol())
		}
		p.text("2")
		p.expectText("3")
		p.text("4hello")
		p.expectText("4hello")
		p.binary([]byte{4, 1, 2})
		p.expect(ws.Binary, "\x04\x01\x02")
		p.text("b4AQI=")
		p.expect(ws.Binary, "\x04\x01\x02")
		p.binary([]byte{9, 1, 2}) // as in Node: no such type, which is no error
		p.binary(nil)
		p.binary([]byte{2, 0xff}) // a ping, whose data is no text
		p.expectText("3")
		p.binary([]byte{3}) // a pong, which only servers send
		p.expectClose(0)
		o.expectClose(ReasonTransportError)
	})
}

func TestProtocol3Upgrade(t *testing.T) {
	f := newFixture(t, plain, Config{AllowEIO3: true}, echoing)
	query, o := f.openPolling3("")
	o.Send(BinaryFrame([]byte{7}))
	p := f.probed(query)
	p.text("5")
	p.expect(ws.Binary, "\x04\x07")
}

func TestProtocol3PingTimeout(t *testing.T) {
	everLonger(t, 60*time.Millisecond, func(pause time.Duration) bool {
		f := newFixture(t, plain, Config{AllowEIO3: true, PingInterval: 3 * pause, PingTimeout: 2 * pause})
		p := f.dial("EIO=3&transport=websocket")
		p.expectOpen()
		o := f.owner()
		start := time.Now()
		for range 6 { // pings keep it open
			time.Sleep(pause) // the interval of a client, not a wait for something
			_ = p.raw(maskedFrame(0x81, []byte("2")))
			if op, b, err := p.readFrame(); err != nil || op != ws.Text || string(b) != "3" {
				return false // no ping for five pauses
			}
		}
		o.expectClose(ReasonPingTimeout)
		if d := time.Since(start); d < (6+5)*pause {
			t.Errorf("closed after %v", d)
		}
		p.expectClose(0)
		return true
	})
}
