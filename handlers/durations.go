package handlers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// duration names a histogram of the time that requests of clients take, by event.
type duration int

const (
	durationHandler duration = iota // until the event's handler has returned
	durationRequest                 // until the last answer is queued
)

// durations are the gateway's histograms, in seconds. A guild event is observed once, and not for each recipient.
type durations struct {
	redisToSocket, publishToSocket, replay prometheus.Histogram

	byEvent [2]*prometheus.HistogramVec
	// Looked up once. Static after construction. Names that clients make up are not in it.
	known [2]map[string]prometheus.Observer
}

func newDurations(compat Compat) *durations {
	d := &durations{
		redisToSocket: prometheus.NewHistogram(histogramOpts("redis_to_socket_seconds",
			"From the arrival of a guild event from Redis until it is queued for all sockets that get it.")),
		publishToSocket: prometheus.NewHistogram(histogramOpts("publish_to_socket_seconds",
			"From the publishing of a guild event until it is queued for all sockets that get it: by the clock of Redis "+
				"for durable events, by ts for others.")),
		replay: prometheus.NewHistogram(histogramOpts("replay_seconds",
			"From the request of past guild events, or the first that was left out for a slow client, until all that was "+
				"missed is queued.")),
	}
	d.byEvent[durationHandler] = prometheus.NewHistogramVec(histogramOpts("handler_seconds",
		"Time that handlers of client events take."), []string{"event"})
	d.byEvent[durationRequest] = prometheus.NewHistogramVec(histogramOpts("request_seconds",
		"From the taking up of a client event until its last answer is queued."), []string{"event"})
	events := []string{eventRequestElevation, eventDemote, eventSpectate, eventPool, eventInterpret}
	if compat == CompatArchitus {
		events = append(events, eventPoolRequest, eventPoolAllRequest, eventMockUserEvent)
	}
	for i, vec := range d.byEvent {
		d.known[i] = map[string]prometheus.Observer{}
		for _, name := range events {
			d.known[i][name] = vec.WithLabelValues(name)
		}
	}
	return d
}

// histogramOpts are those of a histogram that is both classic and native.
func histogramOpts(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: "guildcast", Name: name, Help: help,
		Buckets: []float64{
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
		},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func (d *durations) collectors() []prometheus.Collector {
	return []prometheus.Collector{d.redisToSocket, d.publishToSocket, d.replay, d.byEvent[0], d.byEvent[1]}
}

// observe takes note of what a client event has taken since began, unless that is zero.
func (d *durations) observe(which duration, name string, began time.Time) {
	if o := d.known[which][name]; o != nil && !began.IsZero() {
		o.Observe(time.Since(began).Seconds())
	}
}

// observeReplay takes note of a replay that has ended.
func (d *durations) observeReplay(began time.Time) {
	if !began.IsZero() {
		d.replay.Observe(time.Since(began).Seconds())
	}
}

// observeDelivery takes note of a guild event that is queued for its sockets.
func (d *durations) observeDelivery(e *event.Event, p history.Position, received time.Time) {
	published := e.Published
	if !p.IsZero() {
		published = int64(p.Time)
	}
	if published == 0 && received.IsZero() {
		return
	}
	now := time.Now()
	if !received.IsZero() {
		d.redisToSocket.Observe(now.Sub(received).Seconds())
	}
	if published != 0 {
		// Clocks differ: an event from the future has taken no time.
		d.publishToSocket.Observe(max(0, now.Sub(time.UnixMilli(published)).Seconds()))
	}
}
