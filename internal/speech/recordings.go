package speech

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxRecording bounds the length of one recording.
const maxRecording = 10 * Rate

// symbolFiles are the names of files for characters that can't be in a file's name everywhere.
var symbolFiles = map[string]string{
	"exclamation": "!", "hash": "#", "dollar": "$", "percent": "%", "ampersand": "&", "asterisk": "*", "plus": "+", "equals": "=", "question": "?", "at": "@",
}

// readRecordings reads an operator's own recordings: folders that are named as locales, with a file for each prompt, such
// as de/intro.wav, de/7.wav, de/a.wav and de/at.wav. It returns all voices, with those prompts in place of the program's.
func readRecordings(dir string) (map[string]func() voice, error) {
	all := maps.Clone(voices)
	if dir == "" {
		return all, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.New("must be a folder that the server may read")
	}
	defer root.Close()
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.New("must be a folder that the server may read")
	}
	for _, folder := range folders {
		read, ok := voices[folder.Name()]
		if !ok {
			return nil, fmt.Errorf("%s: must be a folder with the name of one of %s", folder.Name(), strings.Join(slices.Sorted(maps.Keys(voices)), " "))
		}
		base := read()
		v := maps.Clone(base)
		files, err := os.ReadDir(filepath.Join(dir, folder.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: can't be read", folder.Name())
		}
		for _, f := range files {
			at := filepath.Join(folder.Name(), f.Name())
			name, ok := promptOf(f.Name(), base)
			if !ok {
				return nil, fmt.Errorf("%s: is no prompt's name, such as intro.wav, 7.wav, a.wav or at.wav", at)
			}
			if v[name], err = readRecording(root, at); err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
		}
		all[folder.Name()] = func() voice { return v }
	}
	return all, nil
}

// promptOf returns the prompt that a file holds.
func promptOf(file string, v voice) (name string, ok bool) {
	base, ok := strings.CutSuffix(file, ".wav")
	if symbol := symbolFiles[base]; symbol != "" {
		base = symbol
	} else if len(base) == 1 || strings.HasPrefix(base, word) {
		base = strings.TrimPrefix(base, word)
		base = strings.TrimSuffix(strings.TrimSuffix(file, ".wav"), base) + strings.ToUpper(base)
	}
	return base, ok && v[base] != nil
}

// readRecording reads a WAV file as a prompt: without silence around it, and as loud as all prompts.
func readRecording(root *os.Root, file string) ([]byte, error) {
	info, err := root.Stat(file)
	if err != nil || !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, errors.New("can't be read")
	}
	f, err := root.Open(file)
	if err != nil {
		return nil, errors.New("can't be read")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxWAV+1))
	if err != nil || len(data) > maxWAV {
		return nil, fmt.Errorf("can't be read, or has more than %d MB", maxWAV>>20)
	}
	pcm, err := ReadWAV(data)
	if err != nil {
		return nil, err
	}
	if pcm = Trim(pcm); len(pcm) < Rate/20 || len(pcm) > maxRecording {
		return nil, fmt.Errorf("must have 0.05 to %d s of sound", maxRecording/Rate)
	}
	return MuLaw(Level(pcm)), nil
}
