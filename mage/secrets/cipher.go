package secrets

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/keyservice"
)

// ivSize is the length in bytes of the initialisation vectors that sops makes.
const ivSize = 32

// encrypted is the one way in which sops writes a value. sops itself reads much
// more: text after the bracket, line ends within base64, any vector length (it
// panics on some), and the label "bytes", which panics as well.
var encrypted = regexp.MustCompile(
	`^ENC\[AES256_GCM,data:([A-Za-z0-9+/]+=*),iv:([A-Za-z0-9+/]+=*),tag:([A-Za-z0-9+/]+=*),type:(str|int|float|bool|time|comment)\]$`)

const encryptedPrefix = "ENC[AES256_GCM,"

// strictCipher is sops' cipher for text that somebody may have tampered with.
// One instance must serve both directions: it remembers the vectors, so that
// values that did not change keep their ciphertext.
type strictCipher struct {
	aes aes.Cipher
}

func newCipher() strictCipher { return strictCipher{aes.NewCipher()} }

// Decrypt implements [sops.Cipher]. Its errors name the place and never repeat
// the value, which may be plaintext that got into the file by mistake.
func (c strictCipher) Decrypt(ciphertext string, key []byte, place string) (any, error) {
	if ciphertext == "" {
		return "", nil // sops leaves empty values as they are
	}
	if err := checkEncrypted(ciphertext); err != nil {
		return nil, fmt.Errorf("%s: %w", placeName(place), err)
	}
	plain, err := c.aes.Decrypt(ciphertext, key, place)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", placeName(place), errors.New("does not decrypt"))
	}
	return plain, nil
}

// Encrypt implements [sops.Cipher].
func (c strictCipher) Encrypt(plain any, key []byte, place string) (string, error) {
	if comment, ok := plain.(sops.Comment); ok {
		// Decrypting forgets that a comment was beside a value; the vector
		// is remembered under what decrypting returned.
		plain = sops.Comment{Value: comment.Value}
	}
	return c.aes.Encrypt(plain, key, place)
}

func checkEncrypted(text string) error {
	parts := encrypted.FindStringSubmatch(text)
	if parts == nil {
		if strings.HasPrefix(text, "ENC[") {
			return errors.New("is not what sops writes")
		}
		return errors.New("is in plain text and should be encrypted")
	}
	for i, part := range parts[1:4] {
		raw, err := base64.StdEncoding.Strict().DecodeString(part)
		if err != nil {
			return errors.New("is not clean base64")
		}
		if i == 1 && len(raw) != ivSize {
			return fmt.Errorf("has an initialisation vector of %d bytes, not %d", len(raw), ivSize)
		}
	}
	return nil
}

// placeName turns sops' "a:b:" into our a.b.
func placeName(place string) string {
	place = strings.TrimSuffix(place, ":")
	if place == "" {
		return "a comment or element at the top"
	}
	return fmt.Sprintf("%q", strings.ReplaceAll(place, ":", "."))
}

// keyServer answers sops' requests for the data key. sops' own answers would
// look for keys in a dozen places, run gpg and call servers that the file
// names; this one uses the identities at hand and nothing else to decrypt.
// To encrypt it does what sops does, since .sops.yaml is the user's own.
type keyServer struct {
	keyservice.Server
	ids    *Identities
	opened map[string]identity // by what was decrypted

	plugins []error // why a plugin did not decrypt
}

func (s *keyServer) Decrypt(_ context.Context, request *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	if request.GetKey().GetAgeKey() == nil {
		return nil, errors.New("not an age recipient")
	}
	for _, id := range s.ids.all {
		plain, err := s.ids.unwrap(id, request.GetCiphertext())
		if id.kind == fromPlugin && err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
			s.plugins = append(s.plugins, err)
		}
		if err == nil {
			s.opened[string(request.GetCiphertext())] = id
			return &keyservice.DecryptResponse{Plaintext: plain}, nil
		}
	}
	return nil, ErrWrongKey
}

// unwrap decrypts one data key. What a plugin decrypted is remembered: it may have
// asked for a touch.
func (ids *Identities) unwrap(id identity, stanza []byte) ([]byte, error) {
	if id.kind != fromPlugin {
		return unwrap(stanza, id.key)
	}
	ids.once.Lock()
	defer ids.once.Unlock()
	if plain, known := ids.once.opened[id.line+string(stanza)]; known {
		return plain, nil
	}
	plain, err := unwrap(stanza, id.key)
	if err == nil {
		ids.once.opened[id.line+string(stanza)] = plain
	}
	return plain, err
}

// touched is what plugins decrypted.
type touched struct {
	sync.Mutex
	opened map[string][]byte
}

func unwrap(stanza []byte, key age.Identity) ([]byte, error) {
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(stanza)), key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// dataKey decrypts the key that all values are encrypted with: without asking
// anybody, if that is possible.
func dataKey(metadata *sops.Metadata, ids *Identities) ([]byte, error) {
	if quiet := ids.quiet(); quiet.Len() > 0 && quiet.Len() < ids.Len() {
		if key, err := dataKeyBy(metadata, quiet); !errors.Is(err, ErrWrongKey) {
			return key, err
		}
	}
	return dataKeyBy(metadata, ids)
}

func dataKeyBy(metadata *sops.Metadata, ids *Identities) ([]byte, error) {
	server := &keyServer{ids: ids, opened: map[string]identity{}}
	clients := []keyservice.KeyServiceClient{keyservice.NewCustomLocalClient(server)}
	key, err := metadata.GetDataKeyWithKeyServices(clients, sops.DefaultDecryptionOrder)
	if err != nil {
		return nil, server.explain(metadata)
	}
	return key, server.checkRecipients(metadata, key)
}

// explain tells a foreign file from a damaged one: the file names a recipient
// of ours, and yet that part of it does not decrypt.
func (s *keyServer) explain(metadata *sops.Metadata) error {
	for _, entry := range ageKeys(metadata) {
		if s.ids.Only([]string{entry.Recipient}).Len() > 0 {
			if _, ok := s.opened[entry.EncryptedKey]; !ok {
				return fmt.Errorf("%w: the data key for %s", ErrDamaged, short(entry.Recipient))
			}
		}
	}
	if err := s.explainGroups(metadata); err != nil {
		return err
	}
	return errors.Join(append([]error{ErrWrongKey}, s.plugins...)...)
}

// explainGroups tells that some groups open and others do not: each wants a key.
func (s *keyServer) explainGroups(metadata *sops.Metadata) error {
	want := metadata.ShamirThreshold
	if want == 0 {
		want = len(metadata.KeyGroups)
	}
	open := 0
	for _, group := range metadata.KeyGroups {
		if slices.ContainsFunc(group, func(key keys.MasterKey) bool {
			_, ok := s.opened[string(key.EncryptedDataKey())]
			return ok
		}) {
			open++
		}
	}
	if len(metadata.KeyGroups) < 2 || open == 0 || open >= want {
		return nil
	}
	return fail(ErrWrongKey, next.Say("Put all recipients into one group of .sops.yaml, or write shamir_threshold: %d there, then run %s.", open, next.Target("secrets:init")),
		"a key of %d of the %d key groups is wanted, and those at hand open %d", want, len(metadata.KeyGroups), open)
}

// pluginRecipient reports whether a recipient can be one of a plugin: age's own
// are none.
func pluginRecipient(recipient string) bool {
	_, err := age.ParseRecipients(strings.NewReader(recipient))
	return err != nil && strings.HasPrefix(recipient, "age1")
}

// checkRecipients compares the recipients' names, which sops does not
// authenticate, with what was really decrypted: one name changed, and the next
// rotation would encrypt to a stranger.
func (s *keyServer) checkRecipients(metadata *sops.Metadata, key []byte) error {
	for _, entry := range ageKeys(metadata) {
		if _, err := sopsage.MasterKeyFromRecipient(entry.Recipient); err != nil {
			return fmt.Errorf("%w: recipient %q", ErrDamaged, short(entry.Recipient))
		}
		id, opened := s.opened[entry.EncryptedKey]
		if !opened {
			if err := s.checkOwn(metadata, entry, key); err != nil {
				return err
			}
		} else if id.kind == fromPlugin {
			if !pluginRecipient(entry.Recipient) {
				return fmt.Errorf("%w: what a plugin decrypts is marked as for %s", ErrDamaged, short(entry.Recipient))
			}
		} else if !sameRecipient(id.recipient, entry.Recipient) {
			return fmt.Errorf("%w: what %s decrypts is marked as for %s", ErrDamaged, short(id.recipient), short(entry.Recipient))
		}
	}
	return nil
}

// checkOwn looks at an entry that was not needed: if it claims to be for one of
// our identities, that one must decrypt it.
func (s *keyServer) checkOwn(metadata *sops.Metadata, entry *sopsage.MasterKey, key []byte) error {
	if _, err := io.ReadAll(armor.NewReader(bytes.NewReader(entry.EncryptedDataKey()))); err != nil {
		return fmt.Errorf("%w: the data key for %s", ErrDamaged, short(entry.Recipient))
	}
	for _, id := range s.ids.Only([]string{entry.Recipient}).all {
		plain, err := unwrap(entry.EncryptedDataKey(), id.key)
		if err != nil || (len(metadata.KeyGroups) == 1 && !bytes.Equal(plain, key)) {
			return fmt.Errorf("%w: the data key for %s", ErrDamaged, short(entry.Recipient))
		}
	}
	return nil
}

// rewrap encrypts a new data key, or the one given, to the recipients that
// metadata names.
func rewrap(metadata *sops.Metadata, key []byte) error {
	clients := []keyservice.KeyServiceClient{keyservice.NewLocalClient()}
	if errs := metadata.UpdateMasterKeysWithKeyServices(key, clients); len(errs) > 0 {
		return fmt.Errorf("encrypting the data key: %w", errors.Join(errs...))
	}
	return nil
}

func ageKeys(metadata *sops.Metadata) []*sopsage.MasterKey {
	var out []*sopsage.MasterKey
	for _, group := range metadata.KeyGroups {
		for _, key := range group {
			if entry, ok := key.(*sopsage.MasterKey); ok {
				out = append(out, entry)
			}
		}
	}
	return out
}

// short makes a recipient fit into a message: post-quantum ones are 2 kB long.
func short(recipient string) string {
	const most = 70
	if len(recipient) <= most {
		return recipient
	}
	return recipient[:most] + "…"
}
