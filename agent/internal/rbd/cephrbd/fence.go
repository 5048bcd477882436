//go:build cgo

package cephrbd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/ceph/go-ceph/rados"
)

// A process that is killed leaves its watches and exclusive locks behind; the cluster needs 30 s to find that out, in which
// the next process cannot write to the same images nor remove them. The pool therefore notes the address of each of its
// clients in Config.ClientsFile before it uses it, and the next process shuts those out when it first connects: that drops
// their watches at once and lets librbd break their locks. It also fences what such a client may still have on its way.

// fenceSeconds is how long a dead client stays shut out. Clients never get the address of an earlier one, so it only has
// to be longer than anything of it can be on its way.
const fenceSeconds = json.Number("300.0") // with a point: the monitor takes no integer here

// mostFenced bounds how many dead clients are remembered.
const mostFenced = 32

// fence shuts out the clients of the process before this one and notes the client of conn. It must be called before conn
// writes anything. Failing to fence only costs time; failing to note does as well, but for the next process.
func (p *Pool) fence(conn *rados.Conn) {
	if p.config.ClientsFile == "" {
		return
	}
	log := p.config.Log
	addresses, err := loadClients(p.config.ClientsFile)
	if err != nil {
		log.Warn("the clients of an earlier process are not known", "error", err)
	}
	var kept []string
	for _, address := range addresses {
		if p.own[address] {
			kept = append(kept, address)
			continue
		}
		if err := blocklist(conn, address); err != nil {
			log.Warn("a client of an earlier process was not shut out", "address", address, "error", err)
			kept = append(kept, address)
			continue
		}
		log.Info("shut out a client of an earlier process", "address", address)
	}
	addrs, err := conn.GetAddrs()
	if err != nil {
		log.Warn("the address of this client is not known", "error", err)
		return
	}
	p.own[addrs] = true
	kept = append(kept, addrs)
	if err := storeClients(p.config.ClientsFile, kept[max(0, len(kept)-mostFenced):]); err != nil {
		log.Warn("cannot note the address of this client", "error", err)
	}
}

// blocklist asks the monitors to shut a client out; keys with the profile rbd may do that.
func blocklist(conn *rados.Conn, address string) error {
	command, err := json.Marshal(map[string]any{
		"prefix": "osd blocklist", "blocklistop": "add", "addr": address, "expire": fenceSeconds,
	})
	if err != nil {
		return err
	}
	_, status, err := conn.MonCommand(command)
	if err != nil {
		return errors.Join(err, errors.New(status))
	}
	return conn.WaitForLatestOSDMap()
}

func loadClients(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(b)), err
}

// storeClients replaces the file whole. It is not synced: after a crash of the machine no client needs to be shut out,
// because the 30 s are long over.
func storeClients(path string, addresses []string) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(strings.Join(addresses, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// forgetClients removes the notes after an orderly end: there is nothing to shut out.
func (p *Pool) forgetClients() {
	if p.config.ClientsFile == "" {
		return
	}
	if err := os.Remove(p.config.ClientsFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.config.Log.Warn("cannot remove the note of this client's address", "error", err)
	}
}
