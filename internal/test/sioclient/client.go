package sioclient

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/traffic"
)

// patience is only ever used up by a test that fails. It is the default of Options.Patience.
const patience = time.Minute

// Client is a Conn of one test, closed at its end. It keeps the events that come until the test takes them, in order;
// taking one that does not come fails the test, and so does traffic of the protocol that is not as its schemas say. All
// methods may be called from any goroutine of the test.
type Client struct {
	*Conn
	t         testing.TB
	namespace string
	closing   chan struct{} // closed by Close
	closed    sync.Once     // closes closing
	session   *traffic.Session
	patience  time.Duration

	mu      sync.Mutex
	events  []Event            // not taken
	asked   map[int]chan Event // acknowledgements that are waited for
	sent    map[int]Event      // what they acknowledge
	lastID  int
	more    chan struct{} // closed and replaced when events grows
	reading chan struct{} // closed unless the client is paused
}

// Event is an event, or the arguments of an acknowledgement.
type Event struct {
	Name        string
	Args        []json.RawMessage // without the name
	Attachments [][]byte          // the binary of placeholders in Args
	ack         string            // the id that its acknowledgement bears; "" wants none
}

func (e Event) String() string { return fmt.Sprintf("%s %s", e.Name, e.Args) }

// WantsAnswer reports whether the event wants an acknowledgement.
func (e Event) WantsAnswer() bool { return e.ack != "" }

// Arg is the first argument, nil if there is none.
func (e Event) Arg() json.RawMessage {
	if len(e.Args) == 0 {
		return nil
	}
	return e.Args[0]
}

// Connect connects to a namespace of the server at addr (host:port), or fails the test.
func Connect(t testing.TB, addr string, opts Options) *Client {
	t.Helper()
	c := &Client{
		t: t, namespace: opts.Namespace, session: traffic.NewSession(),
		patience: cmp.Or(opts.Patience, patience), asked: map[int]chan Event{}, sent: map[int]Event{},
		more: make(chan struct{}), reading: make(chan struct{}), closing: make(chan struct{}),
	}
	close(c.reading)
	opts.OnPacket = func(p []byte, attachments [][]byte) {
		c.hear(p, attachments)
		c.mu.Lock()
		reading := c.reading
		c.mu.Unlock()
		select {
		case <-reading:
		case <-c.closing:
		}
	}
	conn, err := Dial(addr, opts)
	if err != nil {
		t.Fatal(err)
	}
	c.Conn = conn
	t.Cleanup(c.Close)
	return c
}

// hear runs on the connection's reader.
func (c *Client) hear(p []byte, attachments [][]byte) {
	e, isAck, ok, err := parse(bytes.Clone(p), c.namespace)
	if !ok {
		return
	}
	if err != nil {
		c.t.Errorf("packet %q: %v", p, err)
		return
	}
	e.Attachments = attachments
	if !isAck && c.namespace == "" {
		c.mind(c.session.Event(e.Name, e.Args))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if isAck {
		c.answeredLocked(e)
		return
	}
	c.events = append(c.events, e)
	close(c.more)
	c.more = make(chan struct{})
}

func (c *Client) answeredLocked(e Event) {
	id, _ := strconv.Atoi(e.ack)
	answer := c.asked[id]
	if answer == nil {
		c.t.Errorf("an acknowledgement that nobody asked for: %s", e)
		return
	}
	delete(c.asked, id)
	if asked, known := c.sent[id]; known {
		delete(c.sent, id)
		c.mind(traffic.Exchange(asked.Name, asked.Args, e.Args))
	}
	answer <- e
}

// mind fails the test for traffic that is not as the schemas say.
func (c *Client) mind(err error) {
	if err != nil && !c.opts.OldProtocol {
		c.t.Errorf("not as the schemas say: %v", err)
	}
}

// Send is Conn.Send, which writes one text message. What it sends in the main namespace is checked: see Client.
func (c *Client) Send(text string) error {
	if p, isMessage := strings.CutPrefix(text, "4"); isMessage && len(p) > 1 && p[0] == '2' && c.namespace == "" {
		c.note([]byte(p))
	}
	return c.Conn.Send(text)
}

// note notes a request, for when it is answered.
func (c *Client) note(p []byte) {
	e, _, ok, err := parse(p, "")
	if !ok || err != nil { // a test that sends such things knows why
		return
	}
	c.session.Request(e.Name, e.Args)
	if e.ack == "" {
		return
	}
	id, _ := strconv.Atoi(e.ack)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[id] = e
}

// parse reads an event or an acknowledgement, without attachments; of other packets it returns ok == false.
func parse(p []byte, namespace string) (e Event, isAck, ok bool, err error) {
	kind, rest := p[0], p[1:]
	if kind == '5' || kind == '6' { // binary: the number of attachments comes first
		kind -= 3
		_, rest, _ = bytes.Cut(rest, []byte("-"))
	}
	if kind != '2' && kind != '3' {
		return Event{}, false, false, nil
	}
	if namespace != "" {
		rest = bytes.TrimPrefix(rest, []byte(namespace+","))
	}
	begin := max(bytes.IndexByte(rest, '['), 0)
	e.ack, isAck = string(rest[:begin]), kind == '3'
	if err := json.Unmarshal(rest[begin:], &e.Args); err != nil || isAck {
		return e, isAck, true, err
	}
	if len(e.Args) == 0 {
		return e, false, true, errors.New("no name")
	}
	err = json.Unmarshal(e.Args[0], &e.Name)
	e.Args = e.Args[1:]
	return e, false, true, err
}

// Emit sends an event. A string in args stays a string: that is the string form of a payload.
func (c *Client) Emit(event string, args ...any) {
	_ = c.Send("42" + c.prefix() + encode(event, args)) // a test that minds waits for the answer
}

// Ask sends an event with an acknowledgement and returns the acknowledgement's first argument.
func (c *Client) Ask(event string, args ...any) json.RawMessage {
	c.t.Helper()
	return c.Await(func(id int) { _ = c.Send(fmt.Sprintf("42%s%d%s", c.prefix(), id, encode(event, args))) }).Arg()
}

// Await returns the acknowledgement of what send sends with this id.
func (c *Client) Await(send func(id int)) Event {
	c.t.Helper()
	answer := make(chan Event, 1)
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.asked[id] = answer
	c.mu.Unlock()
	send(id)
	select {
	case e := <-answer:
		return e
	case <-time.After(c.patience):
		c.t.Fatalf("no acknowledgement in %v", c.patience)
		return Event{}
	}
}

// Answer acknowledges an event that wants that. A []byte in args, at the top, goes as binary.
func (c *Client) Answer(e Event, args ...any) {
	var attachments [][]byte
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a
		if b, ok := a.([]byte); ok {
			list[i] = map[string]any{"_placeholder": true, "num": len(attachments)}
			attachments = append(attachments, b)
		}
	}
	kind := "43"
	if len(attachments) > 0 {
		kind = fmt.Sprintf("46%d-", len(attachments))
	}
	_ = c.Send(kind + c.prefix() + e.ack + mustMarshal(list))
	for _, b := range attachments {
		_ = c.SendBinary(b)
	}
}

func encode(event string, args []any) string { return mustMarshal(append([]any{event}, args...)) }

func mustMarshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Next takes the next event.
func (c *Client) Next() Event {
	c.t.Helper()
	e, err := c.TryNext()
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// TryNext takes the next event, or returns an error that says why none came.
func (c *Client) TryNext() (Event, error) {
	late := time.After(c.patience)
	for {
		e, ok, more := c.take()
		if ok {
			return e, nil
		}
		select {
		case <-more:
		case <-c.Done():
			if e, ok := c.Take(); ok { // the last one
				return e, nil
			}
			return Event{}, errors.New("no event: the connection has ended")
		case <-late:
			return Event{}, fmt.Errorf("no event in %v", c.patience)
		}
	}
}

// Take takes the next event if it has come.
func (c *Client) Take() (e Event, ok bool) {
	e, ok, _ = c.take()
	return e, ok
}

// Each calls f for every event, in order, until the connection has ended.
func (c *Client) Each(f func(Event)) {
	for {
		e, ok, more := c.take()
		if ok {
			f(e)
			continue
		}
		select {
		case <-more:
		case <-c.Done():
			return
		}
	}
}

func (c *Client) take() (e Event, ok bool, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) == 0 {
		return Event{}, false, c.more
	}
	e, c.events = c.events[0], c.events[1:]
	return e, true, nil
}

// Expect takes the next event, which must bear this name.
func (c *Client) Expect(name string) Event {
	c.t.Helper()
	e := c.Next()
	if e.Name != name {
		c.t.Fatalf("got %s, want %s", e, name)
	}
	return e
}

// Nothing fails the test if an event comes within d.
func (c *Client) Nothing(d time.Duration) {
	c.t.Helper()
	if e, ok, more := c.take(); ok {
		c.t.Fatalf("got %s", e)
	} else {
		select {
		case <-more:
			e, _, _ := c.take()
			c.t.Fatalf("got %s", e)
		case <-time.After(d):
		}
	}
}

// Close drops the connection and waits until its reader has ended, also while the client is paused.
func (c *Client) Close() {
	c.closed.Do(func() { close(c.closing) })
	c.Conn.Close()
}

// Gone waits until the server has closed the connection.
func (c *Client) Gone() {
	c.t.Helper()
	select {
	case <-c.Done():
	case <-time.After(c.patience):
		c.t.Fatalf("the connection is open after %v", c.patience)
	}
}

// Pause makes the client stop to read, after the next packet at the latest; Resume ends that.
func (c *Client) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = make(chan struct{})
}

// Resume goes on after Pause.
func (c *Client) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.reading)
}
