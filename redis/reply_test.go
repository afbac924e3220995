package redis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecodeReply(t *testing.T) {
	null := []byte("null")
	for in, want := range map[string]reply{
		`{"id":"a","ok":true,"result":{"x":1},"more":true}`: {
			id: "a", part: -1, more: true, result: []byte(`{"x":1}`),
		},
		`{"id":"a","ok":true,"worker":"w","part":3}`: {id: "a", worker: "w", part: 3, result: null},
		`{"id":"a","ok":false,"error":{"code":404,"message":"no_such_guild"}}`: {
			id: "a", part: -1, result: null, err: &Error{code: 404, word: "no_such_guild"},
		},
		`{"id":"a","ok":false,"error":{"code":99,"message":"a\nb"}}`: {
			id: "a", part: -1, result: null, err: &Error{code: 500, word: "backend_failed"},
		},
		`{"id":"a","ok":false}`: {id: "a", part: -1, result: null, err: &Error{code: 500, word: "internal"}},
		// Unknown fields are ignored: a later version may have them.
		`{"id":"a","ok":true,"result":[],"took_ms":3}`: {id: "a", part: -1, result: []byte("[]")},
	} {
		got, err := decodeReply([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		sameErr := (got.err == nil) == (want.err == nil) && (got.err == nil || *got.err == *want.err)
		if got.id != want.id || got.worker != want.worker || got.part != want.part || got.more != want.more ||
			string(got.result) != string(want.result) || !sameErr {
			t.Errorf("%s: got %+v", in, got)
		}
	}
	for _, in := range []string{
		"", "null", "[]", "{", `{"ok":true}`, `{"id":"a"}`, `{"id":7,"ok":true}`, `{"id":"a","ok":"yes"}`,
		`{"id":"a","ok":true,"part":-1}`,
		`{"id":"a","ok":true,"part":10000}`, `{"id":"a","ok":true,"part":1.5}`, `{"id":"a","ok":true,"more":1}`,
		`{"id":"a","ok":true,"worker":"` + strings.Repeat("x", maxWord+1) + `"}`,
	} {
		if r, err := decodeReply([]byte(in)); err == nil {
			t.Errorf("%s: taken as %+v", in, r)
		}
	}
}

// script is the whole answer of one attempt: part i is "attempt:i".
func script(worker string, parts int, numbered bool) []reply {
	var rs []reply
	for i := range parts {
		r := reply{id: "a", worker: worker, part: -1, more: i < parts-1, result: fmt.Appendf(nil, `"%s:%d"`, worker, i)}
		if numbered {
			r.part = i
		}
		rs = append(rs, r)
	}
	return rs
}

// Whatever the workers do, the answer is that of one of them alone.
func TestAnswerIsOneAttemptsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 3).Draw(t, "workers")
		whole := map[string]bool{}
		var queues [][]reply
		for w := range workers {
			rs := script(fmt.Sprint("w", w), rapid.IntRange(1, 5).Draw(t, "parts"), true)
			whole[fmt.Sprint(text(rs))] = true
			if rapid.Bool().Draw(t, "dies") {
				rs = rs[:rapid.IntRange(0, len(rs)-1).Draw(t, "sent")]
			}
			if rapid.Bool().Draw(t, "doubles") && len(rs) > 0 {
				rs = append(rs, rs[rapid.IntRange(0, len(rs)-1).Draw(t, "which")])
			}
			rand.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] }) // a cluster does not keep the order
			queues = append(queues, rs)
		}
		var a answer
		for {
			queues = slices.DeleteFunc(queues, func(q []reply) bool { return len(q) == 0 })
			if len(queues) == 0 {
				return
			}
			i := rapid.IntRange(0, len(queues)-1).Draw(t, "next")
			r := queues[i][0]
			queues[i] = queues[i][1:]
			result, err := a.add(r)
			if err != nil {
				t.Fatal(err)
			}
			if result != nil {
				if got := fmt.Sprintf("%s", result); !whole[got] {
					t.Fatalf("a mixed answer: %s", got)
				}
				return
			}
		}
	})
}

func text(rs []reply) string {
	parts := make([][]byte, len(rs))
	for i, r := range rs {
		parts[i] = r.result
	}
	return fmt.Sprintf("%s", parts)
}

// Workers need not say who they are. Two parts may be equal: empty, for instance.
func TestAnswerOfUnmarkedWorkers(t *testing.T) {
	var a answer
	var result [][]byte
	full := script("", 4, false)
	full[0].result, full[2].result, full[3].result = []byte("[]"), []byte("[]"), []byte("[]")
	for _, r := range full {
		var err error
		if result, err = a.add(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%s", result); got != text(full) {
		t.Errorf("got %s", got)
	}
}

func TestAnswerOfARestartedWorker(t *testing.T) {
	var a answer
	first, again := script("w", 3, true), script("w", 3, true)
	for i := range again {
		again[i].result = fmt.Appendf(nil, `"new:%d"`, i)
	}
	var result [][]byte
	for _, r := range append(first[:2], again...) {
		var err error
		if result, err = a.add(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%s", result); got != text(again) {
		t.Errorf("got %s", got)
	}
}

func TestAnswerRefuses(t *testing.T) {
	for name, rs := range map[string][]reply{
		"part after the last": {{part: 1}, {part: 2, more: true}},
		"last before others":  {{part: 2, more: true}, {part: 1}},
		"too many workers": {
			{worker: "1", more: true}, {worker: "2", more: true}, {worker: "3", more: true}, {worker: "4", more: true},
			{worker: "5"},
		},
	} {
		var a answer
		for i, r := range rs {
			_, err := a.add(r)
			if (err != nil) != (i == len(rs)-1) {
				t.Errorf("%s: reply %d: %v", name, i, err)
			}
		}
	}
	var a answer
	for i := range maxParts + 1 {
		if _, err := a.add(reply{part: -1, more: true, result: fmt.Append(nil, i)}); (err != nil) != (i == maxParts) {
			t.Fatalf("part %d: %v", i, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"id":"a","ok":true,"result":{"x":1},"more":true}`),
		[]byte(`{"id":"a","ok":true,"worker":"w","part":3}`))
	f.Add([]byte(`{"id":"a","ok":false,"error":{"code":404,"message":"x"}}`), []byte(`{"id":"a","ok":true,"part":0}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var a answer
		for _, data := range [][]byte{one, two, one, two} {
			r, err := decodeReply(data)
			if err != nil || r.err != nil {
				continue
			}
			result, err := a.add(r)
			held := 0
			for _, at := range a.attempts {
				held += at.bytes
			}
			if a.bytes != held || slices.ContainsFunc(result, func(p []byte) bool { return p == nil }) {
				t.Fatalf("%d bytes are held and %d counted, result %q, %v", held, a.bytes, result, err)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	err := unavailable("get", errors.New("refused"))
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout) || err.Error() != "get: refused" {
		t.Errorf("%v", err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Code() != 503 || e.Word() != "redis_unavailable" || ErrBusy.Error() != "backend_busy" {
		t.Errorf("%+v", e)
	}
}
