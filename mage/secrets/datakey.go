package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/getsops/sops/v3"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/keyservice"
)

// keyServer answers sops' requests for the data key. sops' own answers would
// look for keys in a dozen places, run gpg and call servers that the file
// names; this one uses the identities at hand and nothing else to decrypt.
// To encrypt it does what sops does, since .sops.yaml is the user's own.
type keyServer struct {
	keyservice.Server
	ids    *Identities
	opened map[string]identity // by what was decrypted
}

func (s *keyServer) Decrypt(_ context.Context, request *keyservice.DecryptRequest) (*keyservice.DecryptResponse, error) {
	if request.GetKey().GetAgeKey() == nil {
		return nil, errors.New("not an age recipient")
	}
	for _, id := range s.ids.all {
		plain, err := unwrap(request.GetCiphertext(), id.key)
		if err == nil {
			s.opened[string(request.GetCiphertext())] = id
			return &keyservice.DecryptResponse{Plaintext: plain}, nil
		}
	}
	return nil, ErrWrongKey
}

func unwrap(stanza []byte, key age.Identity) ([]byte, error) {
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(stanza)), key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// dataKey decrypts the key that all values are encrypted with.
func dataKey(metadata *sops.Metadata, ids *Identities) ([]byte, error) {
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
	return ErrWrongKey
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
		} else if id.recipient != entry.Recipient {
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
