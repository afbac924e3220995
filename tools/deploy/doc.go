// Package deploy holds the tests of what operators deploy: the files in deploy, docker-compose.yml and the packages. It
// is a module of its own, so that Helm, Kubernetes and Compose are no dependencies of guildcast.
package deploy
