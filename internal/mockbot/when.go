package mockbot

import (
	"strconv"
	"strings"
	"time"
)

// maxTimeWords is how many words a time can have: "on the first day ..." is not one, "Saturday, January 2nd 2027 at
// 8:30 pm UTC" is.
const maxTimeWords = 12

// clock is a time as far as it has been read.
type clock struct {
	now time.Time

	year, day int
	month     time.Month
	weekday   time.Weekday
	hour, min int
	offset    time.Duration // from now, of "in 2 hours"
	zone      *time.Location

	hasDate, hasYear, hasMonth, hasDay bool
	hasWeekday, hasTime, hasOffset     bool
	next                               bool
}

// parseTime reads words that are a time and nothing else, in the forms that people write in a chat: "8pm", "tomorrow at
// 20:30", "Friday 8 pm", "Jan 2nd 8:00 PM", "2027-01-02 20:00", "1/2 8pm", "noon", "in 2 hours". What is not said is
// taken from now; without a time of day it is midnight.
func parseTime(words []string, now time.Time) (time.Time, bool) {
	if len(words) == 0 || len(words) > maxTimeWords {
		return time.Time{}, false
	}
	c := &clock{now: now}
	rest := fields(words)
	for len(rest) > 0 {
		n := c.take(rest)
		if n == 0 {
			return time.Time{}, false
		}
		rest = rest[n:]
	}
	return c.resolve()
}

// fields splits words further, at commas and where "T" joins an ISO date and time, and lowers them.
func fields(words []string) []string {
	var list []string
	for _, w := range words {
		w = strings.ToLower(strings.Trim(w, ",;."))
		if len(w) > 10 && w[10] == 't' && isoDate(w[:10]) {
			list = append(list, w[:10], w[11:])
			continue
		}
		if w != "" {
			list = append(list, w)
		}
	}
	return list
}

// take reads one item from the front of words and says how many it used.
func (c *clock) take(words []string) int {
	w := words[0]
	next := ""
	if len(words) > 1 {
		next = words[1]
	}
	switch w {
	case "at", "on", "@", "the", "of", "this":
		if next == "" { // needs something that follows
			return 0
		}
		return 1
	case "next":
		if _, ok := weekdayNamed(next); !ok {
			return 0
		}
		c.next = true
		return 1
	case "in":
		return c.takeOffset(words)
	}
	switch {
	case c.takeRelative(w), c.takeWeekday(w), c.takeZone(w), c.takeISO(w), c.takeSlashed(w):
		return 1
	case c.takeMonth(w):
		return 1
	}
	if c.takeTime(w, next) {
		if isMeridiem(next) {
			return 2
		}
		return 1
	}
	if c.takeDayOrYear(w, next) {
		return 1
	}
	return 0
}

func (c *clock) takeRelative(w string) bool {
	switch w {
	case "today":
		return c.date(c.now)
	case "tonight":
		if !c.hasTime { // until a time is read
			c.hour = 20
		}
		return c.date(c.now)
	case "tomorrow", "tmrw", "tmr":
		return c.date(c.now.AddDate(0, 0, 1))
	case "noon":
		return c.at(12, 0)
	case "midnight":
		return c.at(0, 0)
	}
	return false
}

func (c *clock) date(d time.Time) bool {
	if c.hasDate || c.hasMonth {
		return false
	}
	c.hasDate = true
	c.year, c.month, c.day = d.Date()
	return true
}

func (c *clock) at(hour, min int) bool {
	if c.hasTime || hour > 23 || min > 59 {
		return false
	}
	c.hasTime, c.hour, c.min = true, hour, min
	return true
}

func weekdayNamed(w string) (time.Weekday, bool) {
	if len(w) < 3 {
		return 0, false
	}
	for d := time.Sunday; d <= time.Saturday; d++ {
		name := strings.ToLower(d.String())
		short := w == name[:3] || (w == "tues" && d == time.Tuesday) || (w == "weds" && d == time.Wednesday) ||
			(strings.HasPrefix("thurs", w) && len(w) > 3 && d == time.Thursday)
		if w == name || short {
			return d, true
		}
	}
	return 0, false
}

func (c *clock) takeWeekday(w string) bool {
	d, ok := weekdayNamed(w)
	if !ok || c.hasWeekday {
		return false
	}
	c.weekday, c.hasWeekday = d, true
	return true
}

func (c *clock) takeMonth(w string) bool {
	if c.hasMonth || c.hasDate {
		return false
	}
	for m := time.January; m <= time.December; m++ {
		name := strings.ToLower(m.String())
		if w == name || w == name[:3] || (w == "sept" && m == time.September) {
			c.month, c.hasMonth = m, true
			return true
		}
	}
	return false
}

func (c *clock) takeZone(w string) bool {
	// A zone follows a time. Those of North America are ambiguous elsewhere, and are what the bot's people mean.
	hours, ok := map[string]int{
		"utc": 0, "gmt": 0, "z": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8,
		"pdt": -7,
		"cet": 1, "cest": 2, "bst": 1,
	}[w]
	if !ok || !c.hasTime || c.zone != nil {
		return false
	}
	c.zone = time.FixedZone(strings.ToUpper(w), hours*3600)
	return true
}

func isoDate(w string) bool {
	_, err := time.Parse(time.DateOnly, w)
	return err == nil
}

func (c *clock) takeISO(w string) bool {
	d, err := time.Parse(time.DateOnly, w)
	return err == nil && c.date(d)
}

// takeSlashed reads month/day and month/day/year.
func (c *clock) takeSlashed(w string) bool {
	for _, layout := range []string{"1/2", "1/2/2006", "1/2/06"} {
		d, err := time.Parse(layout, w)
		if err != nil {
			continue
		}
		if !c.date(d) {
			return false
		}
		if layout == "1/2" { // this year, which may not have the day
			c.year = c.now.Year()
		}
		return true
	}
	return false
}

func isMeridiem(w string) bool {
	switch w {
	case "am", "pm", "a.m", "p.m":
		return true
	}
	return false
}

// takeTime reads 20:30, 8pm, and 8:30 pm (next being "pm").
func (c *clock) takeTime(w, next string) bool {
	meridiem := ""
	for _, m := range []string{"am", "pm", "a.m", "p.m", "a", "p"} {
		if head, ok := strings.CutSuffix(w, m); ok && head != "" {
			w, meridiem = head, m[:1]
			break
		}
	}
	if meridiem == "" && isMeridiem(next) {
		meridiem = next[:1]
	}
	w = strings.TrimSuffix(w, "z") // ISO's UTC, which is also the default
	hours, minutes, colon := strings.Cut(w, ":")
	if colon {
		minutes, _, _ = strings.Cut(minutes, ":") // seconds are not shown
	} else if minutes = "0"; meridiem == "" {
		return false
	}
	hour, min := number(hours), number(minutes)
	if hour < 0 || min < 0 || (colon && len(minutes) != 2) {
		return false
	}
	if meridiem != "" {
		if hour < 1 || hour > 12 {
			return false
		}
		hour %= 12
		if meridiem == "p" {
			hour += 12
		}
	}
	return c.at(hour, min)
}

// takeDayOrYear reads the numbers beside the name of a month. A number alone is no time, since titles have numbers too.
func (c *clock) takeDayOrYear(w, next string) bool {
	day := w
	for _, suffix := range []string{"st", "nd", "rd", "th"} {
		day = strings.TrimSuffix(day, suffix)
	}
	n := number(day)
	monthBeside := c.hasMonth
	if !monthBeside {
		probe := clock{}
		monthBeside = probe.takeMonth(next) || (next == "of")
	}
	switch {
	case n < 0 || !monthBeside || c.hasDate:
		return false
	case !c.hasDay && n >= 1 && n <= 31:
		c.day, c.hasDay = n, true
		return true
	case c.hasMonth && !c.hasYear && len(w) == 4 && n >= 1970:
		c.year, c.hasYear = n, true
		return true
	}
	return false
}

// takeOffset reads "in 2 hours", which is a time by itself.
func (c *clock) takeOffset(words []string) int {
	if len(words) < 3 || c.hasOffset {
		return 0
	}
	n := number(words[1])
	if words[1] == "a" || words[1] == "an" {
		n = 1
	}
	units := map[string]time.Duration{
		"min": time.Minute, "minute": time.Minute, "hour": time.Hour, "hr": time.Hour,
		"day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}
	unit, ok := units[strings.TrimSuffix(words[2], "s")]
	if !ok || n < 0 || n > 10_000 {
		return 0
	}
	c.offset, c.hasOffset = time.Duration(n)*unit, true
	return 3
}

// resolve returns the time that was read.
func (c *clock) resolve() (time.Time, bool) {
	if c.hasOffset {
		alone := !c.hasDate && !c.hasMonth && !c.hasWeekday && !c.hasTime
		return c.now.Add(c.offset), alone
	}
	y, m, d := c.now.Date()
	switch {
	case c.hasMonth:
		if !c.hasDay {
			return time.Time{}, false
		}
		m, d = c.month, c.day
		if c.hasYear {
			y = c.year
		}
	case c.hasDate:
		y, m, d = c.year, c.month, c.day
	case c.hasWeekday:
		days := (int(c.weekday) - int(c.now.Weekday()) + 7) % 7
		if c.next && days == 0 {
			days = 7
		}
		d += days
	case !c.hasTime:
		return time.Time{}, false
	}
	zone := c.now.Location()
	if c.zone != nil {
		zone = c.zone // and shown as it was written
	}
	at := time.Date(y, m, d, c.hour, c.min, 0, 0, zone)
	// A day that its month does not have moves into the next one.
	wrong := (c.hasMonth || c.hasDate) && at.Day() != d
	return at, !wrong
}

// number reads one to four digits. It returns -1 for anything else.
func number(s string) int {
	if len(s) == 0 || len(s) > 4 || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
