package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"time"
)

// watchInterval is the time between two looks at the files.
const watchInterval = time.Second

// watch reloads when the content of a file has changed, until ctx ends. A file that is being written is left alone
// until it was the same for an interval.
func (n *Node) watch(ctx context.Context) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	var last, tried [sha256.Size]byte
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		live := n.live.Load()
		now := digest(live.files)
		switch {
		case now == live.digest:
			tried = now
		case now == last && now != tried:
			tried = now          // a wrong file is tried again when it has changed
			_, _ = n.Reload(ctx) // logs the error
		}
		last = now
	}
}

// digest returns a hash of the content of files. Whatever can't be read has one too.
func digest(files []string) [sha256.Size]byte {
	h := sha256.New()
	for _, name := range files {
		data, err := readRegular(name)
		fmt.Fprintf(h, "%q %d %v\n", name, len(data), err)
		h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// readRegular reads a file. What is no regular file, such as a pipe, counts as empty: it can be read once only.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name) // of what a symbolic link leads to now
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	return os.ReadFile(name)
}
