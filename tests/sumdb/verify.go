// Verifies an export with tiles with Go's own implementation of transparency logs.
//
// It opens the note with the key of the log, authenticates the tiles against its root, compares the
// hash of each entry, and proves one record. Usage: verify DIR VKEY RECORD.
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, err := f.read(fmt.Sprint(tile.L), tile.N, tile.W)
		if err != nil {
			return nil, err
		}
		read[i] = data
	}
	return read, nil
}

func (f folder) read(level string, n int64, width int) ([]byte, error) {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width < 256 {
		path = fmt.Sprintf("%s.p/%d", path, width)
	}
	return os.ReadFile(filepath.Join(string(f), "tile", level, path))
}

func main() {
	log.SetFlags(0)
	dir := folder(os.Args[1])
	verifier, err := note.NewVerifier(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	record, err := strconv.ParseInt(os.Args[3], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(string(dir), "checkpoint"))
	if err != nil {
		log.Fatal(err)
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		log.Fatal(err)
	}
	var size int64
	var origin, root string
	if _, err := fmt.Sscanf(opened.Text, "%s\n%d\n%s\n", &origin, &size, &root); err != nil {
		log.Fatal(err)
	}
	hash, err := tlog.ParseHash(root)
	if err != nil {
		log.Fatal(err)
	}
	tree := tlog.Tree{N: size, Hash: hash}
	reader := tlog.TileHashReader(tree, dir)
	equal := int64(0)
	for first := int64(0); first < size; first += 256 {
		width := size - first
		if width > 256 {
			width = 256
		}
		bundle, err := dir.read("entries", first/256, int(width))
		if err != nil {
			log.Fatal(err)
		}
		for ; len(bundle) > 0; equal++ {
			length := binary.BigEndian.Uint16(bundle)
			hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, equal)})
			if err != nil {
				log.Fatal(err)
			}
			if tlog.RecordHash(bundle[2:2+length]) != hashes[0] {
				log.Fatalf("entry %d has another hash", equal)
			}
			bundle = bundle[2+length:]
		}
	}
	proof, err := tlog.ProveRecord(size, record, reader)
	if err != nil {
		log.Fatal(err)
	}
	hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, record)})
	if err != nil {
		log.Fatal(err)
	}
	if err := tlog.CheckRecord(proof, size, hash, record, hashes[0]); err != nil {
		log.Fatal(err)
	}
	for _, one := range proof {
		fmt.Println(one)
	}
	fmt.Println(len(opened.Sigs), len(opened.UnverifiedSigs), equal, size)
}
