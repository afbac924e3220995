package engine

import (
	"bytes"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

// BenchmarkEvent is what an event costs from its text to the return of its listener, without goroutines and I/O.
func BenchmarkEvent(b *testing.B) {
	for name, text := range map[string]string{
		"small":  `2["message","hello world, how are you"]`,
		"object": `213["pool",{"_id":7,"type":"member","guild_id":"607637793107345431","ids":["214037134477230080","1","2"]}]`,
	} {
		b.Run(name, func(b *testing.B) {
			s := serve(b, nil, Options{}, func(s *socket.Socket) {
				_ = s.On("message", func(...any) {})
				_ = s.On("pool", func(...any) {})
			})
			s.connect(b, "")
			c := s.handler.srv.conns()[0]
			wait.Until(b, "open", func() bool {
				c.inbox.mu.Lock()
				defer c.inbox.mu.Unlock()
				return c.inbox.boxes.state == boxOpen
			})
			data := []byte(text)
			b.ReportAllocs()
			for b.Loop() {
				p, err := c.asm.text(bytes.Clone(data), 4, 10)
				if err != nil {
					b.Fatal(err)
				}
				c.handle(c.inbox.boxes, p)
			}
		})
	}
}
