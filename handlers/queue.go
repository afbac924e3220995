package handlers

import "sync"

// queue lets one after another, in the order in which they came.
type queue struct {
	mu   sync.Mutex
	list []chan struct{} // the first is closed: its owner is at work
}

// enter returns a place at the end, which is closed when its turn has come. It must be left.
func (q *queue) enter() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	place := make(chan struct{})
	if q.list = append(q.list, place); len(q.list) == 1 {
		close(place)
	}
	return place
}

// leave gives a place up, whether its turn has come or not.
func (q *queue) leave(place chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, p := range q.list {
		if p == place {
			q.list = append(q.list[:i], q.list[i+1:]...)
			if i == 0 && len(q.list) > 0 {
				close(q.list[0])
			}
			return
		}
	}
}
