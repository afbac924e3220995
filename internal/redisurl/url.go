package redisurl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// mode is the kind of Redis behind a URL.
type mode uint8

const (
	modeSingle mode = iota
	modeSentinel
	modeCluster
	modeEmbedded
)

// target is what a URL says.
type target struct {
	mode    mode
	scheme  string
	unix    bool
	options goredis.UniversalOptions
	files   tlsFiles
}

// schemes are the URL schemes that Connect knows; true if the connection is encrypted.
func schemeOf(name string) (m mode, secure, ok bool) {
	switch name {
	case "redis", "unix":
		return modeSingle, false, true
	case "rediss":
		return modeSingle, true, true
	case "redis+sentinel":
		return modeSentinel, false, true
	case "rediss+sentinel":
		return modeSentinel, true, true
	case "redis+cluster":
		return modeCluster, false, true
	case "rediss+cluster":
		return modeCluster, true, true
	case "embedded":
		return modeEmbedded, false, true
	}
	return 0, false, false
}

// parseURL reads the forms that Connect documents. net/url is not used for the whole, because it does not know lists of
// hosts and quotes the URL, password included, in its errors. No error here quotes anything that could be part of a
// password.
func parseURL(raw string) (target, error) {
	if raw == "embedded" {
		raw = "embedded://127.0.0.1:0"
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return target{}, errors.New("redis URL: neither \"embedded\" nor scheme://host")
	}
	m, secure, ok := schemeOf(scheme)
	if !ok {
		return target{}, errors.New("redis URL: unknown scheme; known are embedded, redis, rediss, unix, " +
			"redis+sentinel, rediss+sentinel, redis+cluster and rediss+cluster")
	}
	t := target{mode: m, scheme: scheme, unix: scheme == "unix"}
	authority, path, query := split(rest)
	if strings.Contains(path+query, "@") {
		return target{}, errors.New("redis URL: an @ after the host; " +
			"in a user name or password the characters / ? # % and @ must be percent-encoded")
	}
	hosts := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		hosts = authority[i+1:]
		if err := t.setUser(authority[:i]); err != nil {
			return target{}, err
		}
	}
	if secure {
		t.options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.defaults()
	if err := t.setHosts(hosts); err != nil {
		return target{}, err
	}
	if err := t.setPath(path); err != nil {
		return target{}, err
	}
	return t, t.setQuery(query)
}

// split cuts what follows the scheme at the first slash, question mark or hash.
func split(rest string) (authority, path, query string) {
	authority = rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	path, query, _ = strings.Cut(path, "?")
	return authority, path, query
}

// defaults are what differs from go-redis's own: deadlines of contexts count, and a server that is away is noticed
// early.
func (t *target) defaults() {
	o := &t.options
	o.ContextTimeoutEnabled = true
	o.DialTimeout = 2 * time.Second
	o.ReadTimeout, o.WriteTimeout = 3*time.Second, 3*time.Second
	o.DialerRetries = 1
	o.DisableIdentity = true
	// Workers in this process keep a connection busy for each of their services.
	o.PoolSize = max(64, 10*runtime.GOMAXPROCS(0))
	// Commands of a hosted Redis only; an ordinary one answers them with errors.
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.IsClusterMode = t.mode == modeCluster
}

func (t *target) setUser(userinfo string) error {
	user, password, _ := strings.Cut(userinfo, ":")
	var err1, err2 error
	t.options.Username, err1 = url.PathUnescape(user)
	t.options.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("redis URL: the user name or password is not percent-encoded correctly")
	}
	return nil
}

func (t *target) setHosts(list string) error {
	if t.unix {
		if list != "" {
			return errors.New("redis URL: unix wants an absolute path: unix:///path/to/redis.sock")
		}
		return nil
	}
	hosts := strings.Split(list, ",")
	if len(hosts) > 1 && (t.mode == modeSingle || t.mode == modeEmbedded) {
		return fmt.Errorf("redis URL: %s has one host; several are for redis+sentinel and redis+cluster", t.scheme)
	}
	for _, host := range hosts {
		addr, err := t.address(host)
		if err != nil {
			return err
		}
		t.options.Addrs = append(t.options.Addrs, addr)
	}
	return nil
}

// address completes host with the default port.
func (t *target) address(s string) (string, error) {
	port := "6379"
	if t.mode == modeSentinel {
		port = "26379"
	}
	host := s
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if inner, ok := strings.CutPrefix(s, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	} else if strings.Contains(s, ":") {
		return "", errors.New("redis URL: bad host; want host:port, or [address]:port for IPv6")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case host == "":
		return "", errors.New("redis URL: no host")
	case strings.ContainsAny(host, " \t\r\n[]%"):
		return "", errors.New("redis URL: bad host")
	case err != nil || n == 0 && t.mode != modeEmbedded:
		return "", errors.New("redis URL: the port is no number from 1 to 65535")
	}
	if t.mode == modeEmbedded {
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return "", errors.New("redis URL: the embedded Redis knows no passwords and listens on a loopback address only")
		}
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// setPath reads /db, or for Sentinel /primary/db.
func (t *target) setPath(path string) error {
	path, _, _ = strings.Cut(path, "#")
	if t.unix {
		if len(path) < 2 {
			return errors.New("redis URL: unix wants an absolute path: unix:///path/to/redis.sock")
		}
		t.options.Addrs = []string{path}
		return nil
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if t.mode == modeSentinel {
		name, err := url.PathUnescape(parts[0])
		if err != nil || name == "" {
			return errors.New("redis URL: redis+sentinel wants the name of the primary: redis+sentinel://host:26379/name")
		}
		t.options.MasterName = name
		parts = parts[1:]
	}
	switch {
	case len(parts) == 0 || len(parts) == 1 && parts[0] == "":
		return nil
	case len(parts) > 1:
		return errors.New("redis URL: too many parts in the path")
	case t.mode == modeCluster || t.mode == modeEmbedded:
		return fmt.Errorf("redis URL: %s has no database numbers", t.scheme)
	}
	return t.setDB(parts[0])
}

func (t *target) setDB(s string) error {
	n, err := strconv.ParseUint(s, 10, 15)
	if err != nil {
		return errors.New("redis URL: the database is no number")
	}
	t.options.DB = int(n)
	return nil
}

// setQuery reads the options.
func (t *target) setQuery(query string) error {
	query, _, _ = strings.Cut(query, "#")
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("redis URL: the options after ? are not percent-encoded correctly")
	}
	if t.mode == modeEmbedded && len(values) > 0 {
		return errors.New("redis URL: embedded has no options")
	}
	// Sorted, so that the same URL always gives the same error.
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := t.setOption(name, values.Get(name)); err != nil {
			return err
		}
	}
	return t.setTLS(values)
}

func (t *target) setOption(name, value string) error {
	o := &t.options
	duration := func(to *time.Duration) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Errorf("redis URL: option %s is no duration such as 500ms or 3s", name)
		}
		*to = d
		return nil
	}
	switch name {
	case "db":
		if t.mode == modeCluster {
			return errors.New("redis URL: a cluster has no database numbers")
		}
		return t.setDB(value)
	case "pool_size":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n == 0 {
			return errors.New("redis URL: option pool_size is no number of connections")
		}
		o.PoolSize = int(n)
	case "dial_timeout":
		return duration(&o.DialTimeout)
	case "read_timeout":
		return duration(&o.ReadTimeout)
	case "write_timeout":
		return duration(&o.WriteTimeout)
	case "pool_timeout":
		return duration(&o.PoolTimeout)
	case "client_name":
		o.ClientName = value
	case "protocol":
		if value != "2" && value != "3" {
			return errors.New("redis URL: option protocol is neither 2 nor 3")
		}
		o.Protocol = int(value[0] - '0')
	case "password_file", "password_command":
		return t.setPasswordSource(name, value)
	case "sentinel_username", "sentinel_password":
		if t.mode != modeSentinel {
			return fmt.Errorf("redis URL: option %s is for redis+sentinel only", name)
		}
		if name == "sentinel_username" {
			o.SentinelUsername = value
		} else {
			o.SentinelPassword = value
		}
	case "ca", "cert", "key", "server_name", "skip_verify":
		if o.TLSConfig == nil {
			return fmt.Errorf("redis URL: option %s wants an encrypted connection: rediss", name)
		}
	default:
		// The name is quoted: it never holds a password, and says what to mend.
		return fmt.Errorf("redis URL: unknown option %q", name)
	}
	return nil
}

// setPasswordSource has the password read anew for each connection, from a file or a program.
func (t *target) setPasswordSource(name, value string) error {
	o := &t.options
	switch {
	case value == "":
		return fmt.Errorf("redis URL: option %s is empty", name)
	case o.Password != "":
		return fmt.Errorf("redis URL: a password, and option %s as well", name)
	case o.CredentialsProviderContext != nil:
		return errors.New("redis URL: options password_file and password_command exclude each other")
	}
	read := passwordFile(value)
	if name == "password_command" {
		read = passwordCommand(value)
	}
	user := o.Username
	o.CredentialsProviderContext = func(ctx context.Context) (string, string, error) {
		password, err := read(ctx)
		return user, password, err
	}
	return nil
}

// setTLS reads the options of an encrypted connection.
func (t *target) setTLS(values url.Values) error {
	c := t.options.TLSConfig
	if c == nil {
		return nil
	}
	c.ServerName = values.Get("server_name")
	if v := values.Get("skip_verify"); v != "" {
		skip, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("redis URL: option skip_verify is neither true nor false")
		}
		c.InsecureSkipVerify = skip
	}
	t.files = tlsFiles{ca: values.Get("ca"), cert: values.Get("cert"), key: values.Get("key")}
	if (t.files.cert == "") != (t.files.key == "") {
		return errors.New("redis URL: options cert and key go together")
	}
	if err := t.files.read(c.Clone()); err != nil { // each connection reads them again
		return fmt.Errorf("redis URL: %w", err)
	}
	return nil
}
