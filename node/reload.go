package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/token/jwks"
)

// live is what a reload replaces. It is read from a Config as a whole before any of it is in effect.
type live struct {
	config      Config
	policy      *permissions.Policy
	certificate *tls.Certificate // nil without TLS
	origins     *origins
	keys        *jwks.Source // nil without
	verifier    *token.Verifier
	files       []string // that it was read from

	// digest is that of files from before they were read.
	digest [sha256.Size]byte
}

// readLive reads what c names. last is what is in effect, or nil. Its key set stays if it is c's, unless it is a file.
func (n *Node) readLive(c *Config, last *live) (*live, error) {
	l := &live{config: *c, files: filesOf(c)}
	l.digest = digest(l.files)
	var err error
	if l.certificate, err = loadCertificate(c.TLSCert, c.TLSKey); err != nil {
		return nil, wrong("tls-cert", err)
	}
	if l.policy, err = LoadPolicy(c.Policy); err != nil {
		return nil, wrong("policy", err)
	}
	if l.origins, err = parseOrigins(c.Origins); err != nil {
		return nil, wrong("origins", fmt.Errorf("origins: %w", err))
	}
	if l.keys, err = keySet(c, last); err != nil {
		return nil, wrong("jwt-jwks", err)
	}
	if l.verifier, err = n.newVerifier(c, l.keys); err != nil {
		return nil, wrong("jwt-secret", err)
	}
	return l, nil
}

// filesOf returns the files that a Config names, or was read from.
func filesOf(c *Config) (files []string) {
	all := append([]string{c.Policy, c.TLSCert, c.TLSKey}, c.Files...)
	if !strings.Contains(c.JWTJWKS, "://") {
		all = append(all, c.JWTJWKS)
	}
	for _, file := range all {
		if file != "" {
			files = append(files, file)
		}
	}
	return files
}

// keySet returns the key set that c names, or nil if there is none.
func keySet(c *Config, last *live) (*jwks.Source, error) {
	switch {
	case c.JWTJWKS == "":
		return nil, nil
	case last != nil && strings.Contains(c.JWTJWKS, "://") && c.JWTJWKS == last.config.JWTJWKS &&
		c.JWTJWKSRefresh == last.config.JWTJWKSRefresh:
		return last.keys, nil // with the keys that it has, if its server is away now
	}
	return jwks.New(c.JWTJWKS, jwks.Options{Refresh: c.JWTJWKSRefresh, Logger: c.Logger})
}

// Reload reads the configuration again and puts into effect what can change while the node runs: the JWT options and
// key set, the policy, the TLS certificate, the origins, the limits and the log level. Sockets stay connected and
// elevated. What they request, and what happens in their guilds, goes by the new configuration once Reload has
// returned. It returns the options that have changed and take effect after a restart. On an error nothing has
// changed. The outcome is logged as well. Reloads come one after another.
func (n *Node) Reload(ctx context.Context) (restart []string, err error) {
	select {
	case n.reloading <- struct{}{}:
		defer func() { <-n.reloading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	restart, err = n.reload(ctx)
	if err != nil {
		n.reloads.failed.Add(1)
		n.config.Logger.Error("configuration is wrong; nothing has changed", "err", err)
		return nil, err
	}
	n.reloads.ok.Add(1)
	n.config.Logger.Info("configuration reloaded")
	if len(restart) > 0 {
		n.config.Logger.Warn("options have changed that take effect after a restart", "options", restart)
	}
	return restart, nil
}

// reload is Reload for one caller at a time.
func (n *Node) reload(ctx context.Context) (restart []string, err error) {
	last := n.live.Load()
	seen := digest(last.files)
	c := last.config
	if n.config.Load != nil {
		if c, restart, err = n.config.Load(); err != nil {
			return nil, err
		}
		c = c.withDefaults()
		c.Logger = n.config.Logger
	}
	defer func() {
		if err != nil && c.Locate != nil {
			err = c.Locate(err)
		}
	}()
	next, err := n.readLive(&c, last)
	if err != nil {
		return nil, err
	}
	if slices.Equal(next.files, last.files) {
		next.digest = seen // from before Load has read
	}
	if (next.certificate == nil) != (last.certificate == nil) { // the listener has TLS or has not
		next.certificate = last.certificate
		restart = append(restart, "tls-cert")
	}
	if next.keys != nil && next.keys != last.keys {
		// A new URL may be misspelt, and the keys that are known may be all that there are.
		if err := next.keys.Read(ctx); err != nil {
			return nil, wrong("jwt-jwks", err)
		}
	}
	n.apply(next)
	return restart, nil
}

// apply puts into effect what was read.
func (n *Node) apply(l *live) {
	n.live.Store(l)
	n.verifier.current.Store(l.verifier)
	n.filter.SetPolicy(l.policy)
	if n.forward != nil {
		n.forward.SetSecrets(clusterSecrets(&l.config))
	}
	n.gateway.SetLimits(l.config.Limits)
	n.requests.SetMaxInFlight(maxInFlight(l.config.Limits.NodeRequests))
	if n.config.LogLevel != nil && l.config.LogLevel != nil {
		n.config.LogLevel.Set(l.config.LogLevel.Level())
	}
	n.newKeys.Send()
}

// runKeys keeps the key set in use up to date until ctx ends, and reads it at once after a reload.
func (n *Node) runKeys(ctx context.Context) error {
	for ctx.Err() == nil {
		keys := n.live.Load().keys
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			if keys == nil {
				<-running.Done()
				done <- nil
				return
			}
			done <- keys.Run(running)
		}()
		for n.live.Load().keys == keys && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-n.newKeys:
				if keys != nil {
					keys.Refresh()
				}
			}
		}
		stop()
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}
