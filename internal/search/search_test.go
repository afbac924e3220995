package search

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func indexOf(t testing.TB, names map[string][]string) *Index {
	x := New(Options{})
	for id, n := range names {
		if err := x.Upsert(id, n...); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func TestOrderOfMatches(t *testing.T) {
	x := indexOf(t, map[string][]string{
		"1": {"ann"}, "2": {"Anna"}, "3": {"Annabelle"}, "4": {"Joanna"}, "5": {"Mary Ann"}, "6": {"Hanns", "ANNe"},
		"7": {"Änne"}, "8": {"bob"}, "9": {""}, "10": {"_anna"},
	})
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{"ann", []string{"1", "2", "6", "7", "3", "10", "5", "4"}},
		{"ANNE", []string{"6", "7", "1", "2", "10", "5", "3"}},
		{"b", []string{"8", "3"}},
		{"zzz", []string{}},
		{"", []string{}},
		{"   ", []string{}},
		{"Mary A", []string{"5"}},
		{"mary  an", []string{"5"}},
	} {
		if got := x.Search(tc.query, 25); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %v, want %v", tc.query, got, tc.want)
		}
	}
	if got := x.Search("ann", 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("limited: %v", got)
	}
	if got := x.Search("ann", -1); len(got) != 1 {
		t.Errorf("limit below one: %v", got)
	}
}

func TestTypos(t *testing.T) {
	x := indexOf(t, map[string][]string{"1": {"Johnathan"}, "2": {"Małgorzata"}, "3": {"the walrus"}, "4": {"日本語テスト"}})
	for query, want := range map[string]string{
		"jhon": "1", "jonathan": "1", "johnatthan": "1", "jhonatahn": "1", "malgorzata": "2", "malgrozata": "2",
		"wlarus":  "3",
		"walruss": "3", "the walras": "3", "日本後テ": "4", "JOHNATHAM": "1",
	} {
		if got := x.Search(query, 10); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: %v, want %s", query, got, want)
		}
	}
	for _, query := range []string{"jxhxn", "jhn", "walxuz", "xxxnathan", "johnathanathan"} {
		if got := x.Search(query, 10); len(got) != 0 {
			t.Errorf("%q: %v", query, got)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Åsa Ågren": "asa agren", "ŁUKASZ": "lukasz", "Straße": "strasse", "Øystein": "oystein", "ＦＵＬＬ": "full",
		"ﬁsh":        "fish",
		"  a \t b  ": "a b", "𝓯𝓪𝓷𝓬𝔂": "fancy", "Žofie": "zofie", "İstanbul": "istanbul", "ISPARTA ı": "isparta i",
		"x\u0301":  "x",
		"\xff\xfe": "", "\xf5Ř": "r", "ΣΟΦΟΣ": "σοφοσ", "σοφος": "σοφοσ", "a\u200bb": "ab",
		"ʜᴏʟᴅᴇʀ": "holder", "ᴘᴇʀꜰɪʟ": "perfil", "ʀɪᴄᴋ": "rick",
		"ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ": "abcdefghijklmnopqrstuvwxyz",
		"🅱🅾🆂🆂": "boss", "🅑🅞🅢🅢": "boss", "🄱🄾🅂🅂": "boss", "Ⓑⓞⓢⓢ": "boss", "🇧🇴🇸🇸": "boss", "🆒 🆗": "cool ok",
		"❶➁➌⓸⓿ ❿": "12340 10", "1\ufe0f\u20e3": "1", "b\u20ddo\u20dds\u20dds\u20dd": "boss", "👨\u200d👩": "👨👩",
		"bo\u00adss": "boss", "\ufeffb\u2060o\u200ds\u200es": "boss", "\u3164\u1160\uffa0\u115f": "",
		"b\u180e\U000e0041oss":   "boss",
		"\u302f\ufffd\U00016ff1": "\U00016ff1\u302f", // two marks, in the order of their classes
	} {
		if got := fold(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for i := range rune(26) {
		for _, first := range "Ⓐⓐ🄰🅐🅰🇦Ａ𝐀" {
			if got, want := fold(string(first+i)), string('a'+i); got != want {
				t.Errorf("%q: %q, want %q", first+i, got, want)
			}
		}
	}
	for _, r := range []string{"ﷺ", "水", "ß", "a", "a "} {
		long := fold(strings.Repeat(r, 100_000))
		if n := utf8.RuneCountInString(long); n > maxNameRunes || n < maxNameRunes-1 || fold(long) != long {
			t.Errorf("%q folds to %d runes", r, n)
		}
	}
	x := New(Options{})
	if err := x.Upsert("1", strings.Repeat("水", 31)+"龍"); err != nil { // as long as Discord allows
		t.Fatal(err)
	}
	if err := x.Upsert("2", "t\u200bʜᴇ 🅱🅾\u00ad🆂🆂"); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"the boss", "boss", "🅱", "ʙᴏ", "bsos"} {
		if got := x.Search(q, 5); len(got) != 1 || got[0] != "2" {
			t.Errorf("%q finds %q", q, got)
		}
	}
	if got := x.Search("水龍", 5); len(got) != 1 {
		t.Error("the end of a long name is not found")
	}
}

func TestUpdates(t *testing.T) {
	x := New(Options{MaxEntries: 3})
	for i, name := range []string{"alpha", "beta", "gamma"} {
		if err := x.Upsert(fmt.Sprint(i), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Upsert("3", "delta"); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth entry: %v", err)
	}
	if err := x.Upsert("0", "omega", "Alpha's nick"); err != nil {
		t.Error(err)
	}
	expect := func(query string, want ...string) {
		t.Helper()
		if got := x.Search(query, 10); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	expect("alpha", "0")
	expect("omeg", "0")
	x.Remove("0")
	x.Remove("0")
	x.Remove("unknown")
	expect("omeg")
	expect("gam", "2")
	expect("bet", "1")
	if err := x.UpsertJSON([]byte(`{"id":"7","name":"Dél","nick":null,"discriminator":"1"}`)); err != nil {
		t.Error(err)
	}
	expect("del", "7")
	if err := x.UpsertJSON([]byte(`{"id":"7","username":"Ünal"}`)); err != nil {
		t.Error(err)
	}
	expect("unal", "7")
	if x.Len() != 3 {
		t.Errorf("%d entries", x.Len())
	}
	for _, bad := range []string{
		`{`, `{"id":7}`, `{"name":"x"}`, `{"id":"` + strings.Repeat("1", 40) + `","name":"x"}`,
	} {
		if err := x.UpsertJSON([]byte(bad)); err == nil {
			t.Errorf("%s was indexed", bad)
		}
	}
}

// slowDistance is the textbook's.
func slowDistance(a, b []rune) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range len(b) + 1 {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	best := len(a)
	for j := range len(b) + 1 {
		best = min(best, d[len(a)][j])
	}
	return best
}

// typed is text with as many mistakes.
func typed(rng *rand.Rand, text string, mistakes int) string {
	w := []rune(text)
	for range mistakes {
		at, r := rng.IntN(len(w)), []rune("abcdeé 漢")[rng.IntN(8)]
		switch rng.IntN(4) {
		case 0:
			w[at] = r
		case 1:
			w = slices.Insert(w, at, r)
		case 2:
			w = slices.Delete(w, at, min(at+1, len(w)-1))
		default:
			next := min(at+1, len(w)-1)
			w[at], w[next] = w[next], w[at]
		}
	}
	return string(w)
}

func TestMistakesAgainstTheTextbook(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	word := func(n int) string {
		w := make([]rune, n)
		for i := range w {
			w[i] = []rune("abcé 漢")[rng.IntN(6)]
		}
		return string(w)
	}
	found := [3]int{}
	for range 200_000 {
		text := word(4 + rng.IntN(8))
		q, name := newQuery(text), fold(word(rng.IntN(4))+typed(rng, text, rng.IntN(4))+word(rng.IntN(4)))
		if q.typos == 0 {
			continue
		}
		want := 3
		for start := range wordStarts(name) {
			want = min(want, slowDistance(q.runes, []rune(name[start:])))
		}
		if want = max(want, 1); want > q.typos {
			want = 3
		}
		if got := q.mistakes(name); got != want {
			t.Fatalf("%q in %q: got %d, want %d of %d", q.text, name, got, want, q.typos)
		}
		found[want-1]++
		// What a search looks at first must not rule it out.
		var s sketches
		s.change(70, sketch{}, sketchOf(name))
		if want <= q.typos && s.near(q, 70/64) != 1<<(70%64) {
			t.Fatalf("%q in %q: ruled out", q.text, name)
		}
	}
	if slices.Min(found[:]) < 1000 {
		t.Errorf("the cases are too much alike: %v", found)
	}
}

// slowSearch has the same rules without the short cuts. It also says how well the last one matches.
func slowSearch(x *Index, text string, limit int) (ids []string, worst class) {
	q := newQuery(text)
	var all hits
	for i := range x.entries {
		h := hit{class: classNone}
		for _, name := range x.entries[i].names {
			if name.text == "" {
				continue
			}
			n := hit{class: q.literally(name.text), name: name, id: x.entries[i].id}
			if n.class == classNone && q.typos > 0 {
				n.class = q.forgivingly(name.text)
			}
			if n.class < classNone && (h.class == classNone || compareHits(n, h) < 0) {
				h = n
			}
		}
		if h.class < classNone {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, compareHits)
	for _, h := range all[:min(limit, len(all))] {
		ids, worst = append(ids, h.id), h.class
	}
	return ids, worst
}

func TestSearchAgainstSlowSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	name := func() string {
		b := make([]rune, 1+rng.IntN(14))
		for i := range b {
			b[i] = []rune("abcdeé _1")[rng.IntN(9)]
		}
		return string(b)
	}
	x := New(Options{})
	last := [classNone]int{} // of the worst that was found
	for step := range 12_000 {
		id := fmt.Sprint(rng.IntN(3*blockSize + step%2*blockSize))
		if rng.IntN(4) == 0 {
			x.Remove(id)
		} else if err := x.Upsert(id, name(), name()); err != nil {
			t.Fatal(err)
		}
		if step%10 != 0 {
			continue
		}
		text, limit := name(), 1+rng.IntN(30)
		if rng.IntN(2) == 0 { // what is there, or nearly
			text = typed(rng, x.entries[rng.IntN(len(x.entries))].names[0].text+" ", rng.IntN(3))
		}
		if fold(text) == "" {
			continue
		}
		want, worst := slowSearch(x, text, limit)
		if got := x.Search(text, limit); !slices.Equal(got, want) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
		if len(want) > 0 {
			last[worst]++
		}
	}
	if slices.Min(last[:]) < 10 {
		t.Errorf("the cases are too much alike: %v", last)
	}
}

func TestConcurrentUse(t *testing.T) {
	x := New(Options{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 500 {
				id := fmt.Sprint(n % 50)
				switch (n + i) % 3 {
				case 0:
					x.Upsert(id, "name "+id)
				case 1:
					x.Remove(id)
				default:
					x.Search("name", 10)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzSearch(f *testing.F) {
	f.Add("Jürgen the otter", "jurgne")
	f.Add("\xff\u0301", "ﷺ")
	f.Add("\xf5Ř", "r")
	f.Add("\x000", "0")
	f.Add("\u302f\ufffd\U00016ff1", "x")
	f.Add(strings.Repeat("水", 21)+"ß", "水")
	f.Fuzz(func(t *testing.T, name, q string) {
		x := New(Options{})
		if err := x.Upsert("1", name); err != nil {
			t.Fatal(err)
		}
		if err := x.Upsert("2", q, name+q); err != nil {
			t.Fatal(err)
		}
		if fold(q) != "" {
			if want, _ := slowSearch(x, q, 5); !slices.Equal(x.Search(q, 5), want) {
				t.Fatalf("%q in %q: %v, want %v", q, name, x.Search(q, 5), want)
			}
		}
		x.Remove("2")
		if fold(name) != "" && len(x.Search(name, 5)) != 1 {
			t.Fatalf("%q is not found by its name", name)
		}
		if twice := fold(fold(name)); twice != fold(name) {
			t.Fatalf("%q folds to %q and then %q", name, fold(name), twice)
		}
	})
}

// largeGuild has 100,000 members with the kinds of names that people have.
func largeGuild(tb testing.TB) *Index {
	syllables := strings.Fields("an bel cor da el fi gra hu is jo ka li mo na or pe qui ra so ta ur vi wa xe yo zé ø ß 7 42")
	rng := rand.New(rand.NewPCG(5, 6))
	word := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(syllables[rng.IntN(len(syllables))])
		}
		return b.String()
	}
	x := New(Options{})
	for i := range 100_000 {
		nick := ""
		if rng.IntN(3) == 0 {
			nick = word(2) + " the " + word(3)
		}
		if err := x.Upsert(fmt.Sprint(200_000_000_000_000_000+i), word(2+rng.IntN(3)), nick); err != nil {
			tb.Fatal(err)
		}
	}
	return x
}

// BenchmarkSearch reports the 99th percentile over queries of all kinds.
func BenchmarkSearch(b *testing.B) {
	x := largeGuild(b)
	queries := []string{
		"a", "an", "the", "belcor", "xeyozé", "jonaor", "grahuis", "anan", "anna", "the jokali", "quirasot",
		"nothing like it",
		"7", "zzzzzzzz", "daelfigra", "oßo", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "elan", "rasota", "42 the",
	}
	var took []time.Duration
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		started := time.Now()
		x.Search(queries[i%len(queries)], 25)
		took = append(took, time.Since(started))
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}

// BenchmarkUpsert is what following one event costs.
func BenchmarkUpsert(b *testing.B) {
	x := largeGuild(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := x.Upsert(fmt.Sprint(200_000_000_000_000_000+i%100_000), "Zoë Öster", "nick"); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
