package adminui

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"
)

const (
	// sessionLife is how long a page may come back without the password.
	sessionLife = 24 * time.Hour

	// attemptsPerSecond bounds the passwords that are tried, by anybody: each takes the time of a hash.
	attemptsPerSecond = 2
	attemptsAtOnce    = 10
)

// login knows who may see the page.
type login struct {
	user     string
	hash     []byte
	attempts *rate.Limiter
	trying   chan struct{} // holds a token while a password is tried

	// Guarded by mu.
	mu     sync.Mutex
	closed bool

	goroutines sync.WaitGroup // Add only under mu and while not closed
}

func newLogin(user string, hash []byte) *login {
	return &login{
		user: user, hash: hash, attempts: rate.NewLimiter(attemptsPerSecond, attemptsAtOnce),
		trying: make(chan struct{}, 1),
	}
}

// close waits for the attempts in progress. Later ones fail.
func (l *login) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.goroutines.Wait()
}

// errCredentials has the message by which the page asks for the password again.
func errCredentials() *socket.ExtendedError {
	return socket.NewExtendedError("invalid credentials", nil)
}

// authenticate is the middleware of the namespace.
func (u *UI) authenticate(s *socket.Socket, next func(*socket.ExtendedError)) {
	l := u.login
	auth, _ := s.Handshake().Auth.(map[string]any)
	if id, ok := auth["sessionId"].(string); ok && l.validSession(id, time.Now()) {
		next(nil)
		return
	}
	user, _ := auth["username"].(string)
	password, ok := auth["password"].(string)
	if !ok || password == "" {
		next(errCredentials())
		return
	}
	if !l.attempts.Allow() {
		u.o.Logger.Warn("admin ui refuses passwords: too many were tried", "addr", s.Handshake().Address)
		next(socket.NewExtendedError("too many attempts", nil))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		next(errCredentials())
		return
	}
	l.goroutines.Go(func() { // the caller reads from the client
		if l.valid(user, password) {
			u.o.Logger.Info("admin ui login", "user", l.user, "addr", s.Handshake().Address)
			next(nil)
			return
		}
		u.o.Logger.Warn("admin ui login failed", "addr", s.Handshake().Address)
		next(errCredentials())
	})
}

// valid tries a password, one at a time, so that nobody can take all processors.
func (l *login) valid(user, password string) bool {
	l.trying <- struct{}{}
	defer func() { <-l.trying }()
	right := bcrypt.CompareHashAndPassword(l.hash, []byte(password)) == nil // also for another user: it takes as long
	return right && subtle.ConstantTimeCompare([]byte(user), []byte(l.user)) == 1
}

// newSession returns the id of a session, which all servers with the same user and password take. It is not kept
// anywhere: it says when it ends, signed with the hash of the password.
func (l *login) newSession(now time.Time) string {
	end := binary.BigEndian.AppendUint64(nil, uint64(now.Add(sessionLife).Unix()))
	return hex.EncodeToString(append(end, l.sign(end)...))
}

func (l *login) validSession(id string, now time.Time) bool {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 8+sha256.Size {
		return false
	}
	return hmac.Equal(raw[8:], l.sign(raw[:8])) && now.Unix() < int64(binary.BigEndian.Uint64(raw))
}

func (l *login) sign(end []byte) []byte {
	mac := hmac.New(sha256.New, l.hash)
	mac.Write([]byte("guildcast admin session of " + l.user + "\x00"))
	mac.Write(end)
	return mac.Sum(nil)
}
