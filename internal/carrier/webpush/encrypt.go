package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/countersign/countersign/internal/verify"
)

const (
	// maxBody is the size of the longest body that every push service takes (RFC 8291 §4).
	maxBody = 4096
	// header is the size of a body's header: a salt, the record size, and the sender's key (RFC 8188 §2.1).
	header = 16 + 4 + 1 + 65
	// recordSize is the size that the header tells. The only record is no longer.
	recordSize = maxBody
	// padTo is how long all shorter contents look to others.
	padTo = 1024
	// overhead is the delimiter and the tag of a record.
	overhead = 1 + 16
	// maxText is the size of the longest content.
	maxText = maxBody - header - overhead
)

// encrypt encrypts a content so that only the device can read it (RFC 8291, aes128gcm of RFC 8188).
func encrypt(to verify.Subscription, text []byte) ([]byte, error) {
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails, see crypto/rand
	return encryptWith(to, text, sender, salt, max(0, padTo-len(text)))
}

// encryptWith encrypts with a key and a salt that are used only this once, and so many bytes of padding.
func encryptWith(to verify.Subscription, text []byte, sender *ecdh.PrivateKey, salt []byte, padding int) ([]byte, error) {
	if len(text)+padding > maxText {
		return nil, fmt.Errorf("the message has %d bytes, and a push may have %d", len(text), maxText)
	}
	device, err := ecdh.P256().NewPublicKey(to.Key)
	if err != nil {
		return nil, errors.New("the device's key is no point of P-256")
	}
	shared, err := sender.ECDH(device)
	if err != nil {
		return nil, errors.New("the device's key can't be used")
	}
	own := sender.PublicKey().Bytes()
	// RFC 8291 §3.4
	info := "WebPush: info\x00" + string(to.Key) + string(own)
	ikm, err := hkdf.Key(sha256.New, shared, to.Auth, info, 32)
	if err != nil {
		return nil, err
	}
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, header+len(text)+padding+overhead)
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, byte(len(own)))
	out = append(out, own...)
	record := make([]byte, len(text)+1+padding) // the delimiter of the last record, and zeros
	copy(record, text)
	record[len(text)] = 2
	return aead.Seal(out, nonce, record, nil), nil
}
