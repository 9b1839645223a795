package speech

import (
	"context"
	"errors"
	"strings"
)

// A Question is the sound of a call that asks for a key. Its parts are whole frames.
type Question struct {
	Ask    []byte // that somebody asks, and which keys say yes and no
	Thanks []byte // for a key
}

// asker stands for who asks, in the sentences below.
const asker = "{name}"

// requests say who asks. An engine speaks them, so that Chinese is in characters here. Japanese stays in
// kana, which every engine reads.
var requests = map[string]string{
	"ar": "لديك طلب تحقق من طرف {name}",
	"de": "Sie haben eine Bestätigungsanfrage von {name}",
	"en": "You have a verification request from {name}",
	"es": "Tiene una solicitud de verificación de {name}",
	"fr": "Vous avez une demande de vérification de la part de {name}",
	"hi": "{name} की ओर से आपके लिए एक सत्यापन अनुरोध है",
	"id": "Anda menerima permintaan verifikasi dari {name}",
	"it": "Ha ricevuto una richiesta di verifica da {name}",
	"ja": "{name}からにんしょうリクエストがとどいています",
	"nl": "U hebt een verificatieverzoek van {name}",
	"pl": "Masz prośbę o weryfikację od {name}",
	"pt": "Você tem uma solicitação de verificação de {name}",
	"ru": "Вы получили запрос на подтверждение от {name}",
	"tr": "{name} tarafından gönderilen bir doğrulama isteğiniz var",
	"zh": "您有一个来自{name}的验证请求",
}

// maxRequest is how long it may take to say who asks. The keys must come while somebody still listens.
const maxRequest = 8 * Rate

// Question makes the sound of a call that asks for a key, in the name of whoever asks if there is an
// engine that can say it.
func (s *Speaker) Question(ctx context.Context, locale, from string) Question {
	name, v := s.voice(locale)
	who := v[asked]
	if from != "" {
		spoken, err := s.speak(ctx, name, []string{strings.Replace(requests[name], asker, from, 1)})
		if err == nil && len(spoken[0]) > maxRequest {
			err = errors.New("the name of who asks takes too long to say")
		}
		if err == nil {
			who = spoken[0]
		} else {
			s.silent(err)
		}
	}
	ask := pause(append(pause(nil, lead), who...), aroundCode)
	ask = pause(append(ask, v[approve]...), aroundCode)
	return Question{Ask: whole(append(ask, v[reject]...)), Thanks: whole(v[thanks])}
}
