package history_test

import (
	"strings"
	"testing"

	"github.com/architus/guildcast/history"
)

func TestParsePosition(t *testing.T) {
	for text, want := range map[string]history.Position{
		"0-0":             {},
		"0-1":             {Seq: 1},
		"1790000000000-7": {Time: 1790000000000, Seq: 7},
		"18446744073709551615-18446744073709551615": {Time: 1<<64 - 1, Seq: 1<<64 - 1},
	} {
		p, err := history.ParsePosition(text)
		if err != nil || p != want || p.String() != text {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
	for _, text := range []string{
		"", "-", "5", "5-", "-5", "5-5-5", "5 -5", " 5-5", "5-5 ", "+5-5", "5-+5", "-5-5", "0x5-5", "5-*", "*", "$",
		"18446744073709551616-0", "0-18446744073709551616", "99999999999999999999-0", "05-5", "5-00", "٥-٥", "5.0-0",
		strings.Repeat("9", 1<<20), strings.Repeat("0", 40) + "1-0", "5-" + strings.Repeat("0", 1<<20),
	} {
		if p, err := history.ParsePosition(text); err == nil || p != (history.Position{}) {
			t.Errorf("%.50q was taken for %v, %v", text, p, err)
		}
	}
}

func TestPositionsAreInOrder(t *testing.T) {
	ps := []history.Position{{}, {Seq: 1}, {Seq: 1 << 63}, {Time: 1}, {Time: 1, Seq: 9}, {Time: 2}, {Time: 1 << 63}}
	for i, p := range ps {
		for j, q := range ps {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := p.Compare(q); got != want {
				t.Errorf("%v is %d to %v", p, got, q)
			}
		}
		if p.IsZero() != (i == 0) {
			t.Errorf("%v is zero: %v", p, p.IsZero())
		}
	}
}

func TestCut(t *testing.T) {
	for message, want := range map[string]struct {
		body    string
		durable bool
	}{
		`{"payload":1}`:       {`{"payload":1}`, false},
		``:                    {``, false},
		` 5-5 {}`:             {` 5-5 {}`, false},
		`nonsense`:            {`nonsense`, false},
		`5-7 {"payload":1}`:   {`{"payload":1}`, true},
		`5-7  {"payload": 1}`: {` {"payload": 1}`, true},
		`18446744073709551615-18446744073709551615 {}`: {`{}`, true},
	} {
		p, body, durable, err := history.Cut([]byte(message))
		if err != nil || string(body) != want.body || durable != want.durable || p.IsZero() == durable {
			t.Errorf("%s: %v, %q, %v, %v", message, p, body, durable, err)
		}
	}
	for _, message := range []string{
		`5`, `5-5`, `5-5 `, `5 {}`, `5-5{}`, `5-x {}`, "5-5\t{}", `18446744073709551616-0 {}`,
		strings.Repeat("1", 1<<20) + "-0 {}", `1` + strings.Repeat(" ", 100),
	} {
		if _, body, durable, err := history.Cut([]byte(message)); err == nil || body != nil || durable {
			t.Errorf("%.50q: %q, %v, %v", message, body, durable, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("1790000000000-0")
	f.Add("18446744073709551616-00")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := history.ParsePosition(text); err == nil && p.String() != text {
			t.Errorf("%q came back as %q", text, p)
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add([]byte(`1790000000000-0 {"payload":1}`))
	f.Add([]byte(`{"payload":1}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		p, body, durable, err := history.Cut(message)
		switch {
		case err != nil:
			if message[0] < '0' || message[0] > '9' || body != nil {
				t.Errorf("%q: %q, %v", message, body, err)
			}
		case !durable:
			if string(body) != string(message) {
				t.Errorf("%q: the body is %q", message, body)
			}
		case p.String()+" "+string(body) != string(message):
			t.Errorf("%q: %v and %q", message, p, body)
		}
	})
}
