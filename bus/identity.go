package bus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// identity is what a server says about itself, as far as it does: ACLs may forbid the questions, and what is like Redis
// may not know them.
type identity struct {
	run     string // of its process; empty if it is not known
	replica bool
	refused error // by an ACL
}

// same reports whether both are known to be the same process.
func (id identity) same(other identity) bool { return id.run != "" && id.run == other.run }

// differs reports whether both are known to be different processes.
func (id identity) differs(other identity) bool {
	return id.run != "" && other.run != "" && id.run != other.run
}

// whoAreYou are the commands that readIdentity reads the answers to.
var whoAreYou = appendCommand(appendCommand(nil, "info", "server"), "role")

func (c *conn) readIdentity() (identity, error) {
	var id identity
	info, err := c.text(0)
	if err = id.forgive(err); err != nil {
		return id, err
	}
	role, err := c.text(0)
	if err = id.forgive(err); err != nil {
		return id, err
	}
	if _, rest, ok := strings.Cut(info, "run_id:"); ok {
		id.run, _, _ = strings.Cut(rest, "\r\n")
	}
	id.replica = role == "slave" || role == "replica"
	return id, nil
}

// forgive returns err unless Redis has answered with it.
func (id *identity) forgive(err error) error {
	var re replyError
	if !errors.As(err, &re) {
		return err
	}
	if re.code() == "NOPERM" {
		id.refused = re
	}
	return nil
}

// ask has the server of a connection that is used for nothing else say who it is now.
func (c *conn) ask(until time.Time) (identity, error) {
	c.nc.SetDeadline(until)
	if _, err := c.nc.Write(whoAreYou); err != nil {
		return identity{}, err
	}
	return c.readIdentity()
}

// publish publishes on such a connection.
func (c *conn) publish(until time.Time, m *outgoing) error {
	c.nc.SetDeadline(until)
	if _, err := c.nc.Write(appendPublish(nil, m)); err != nil {
		return err
	}
	_, err := c.reply()
	return err
}

// text reads any reply and returns its text: of an array, that of the first element.
func (c *conn) text(depth int) (string, error) {
	b, err := c.line()
	if err != nil {
		return "", err
	}
	switch b[0] {
	case '+', ':':
		return string(b[1:]), nil
	case '-':
		return "", replyError(b[1:])
	case '$':
		n, err := parseCount(b, '$')
		if err != nil || n < 0 {
			return "", err
		}
		if n > maxLine {
			return "", c.skip(n)
		}
		text, err := c.payload(n)
		return string(text), err
	case '*':
		n, err := parseCount(b, '*')
		if err != nil {
			return "", err
		}
		first := ""
		for i := range max(n, 0) {
			if depth == 4 {
				return "", fmt.Errorf("%w: arrays in arrays", errProtocol)
			}
			text, err := c.text(depth + 1)
			if err != nil {
				return "", err
			}
			if i == 0 {
				first = text
			}
		}
		return first, nil
	}
	return "", fmt.Errorf("%w: %.40q", errProtocol, b)
}
