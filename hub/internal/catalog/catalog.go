// Package catalog owns the records of images, replicas, sites, stores and operations, and the rules by which user
// requests change them. It decides; package reconcile carries out; package etcdstore remembers.
package catalog
