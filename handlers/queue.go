package handlers

import "sync"

// queue admits one owner at a time, in order of arrival.
type queue struct {
	mu   sync.Mutex
	list []chan struct{} // the places; the first is closed: its owner has the turn
}

// enter returns a new place at the end of the queue. It is closed once it is the first. The caller must leave it.
func (q *queue) enter() chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	place := make(chan struct{})
	if q.list = append(q.list, place); len(q.list) == 1 {
		close(place)
	}
	return place
}

// leave removes a place, wherever it is in the queue.
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
