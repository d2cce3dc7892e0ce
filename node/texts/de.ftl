# Alle Texte der Seiten auf Deutsch. Die Schlüssel sind in jeder Sprache gleich; ein Test vergleicht sie.
language = Deutsch
product = Gästeregister

## Zeiten
month = { $number ->
    [1] Januar
    [2] Februar
    [3] März
    [4] April
    [5] Mai
    [6] Juni
    [7] Juli
    [8] August
    [9] September
    [10] Oktober
    [11] November
   *[12] Dezember
  }
day = { $day }. { $month } { $year }
clock = { $time } Uhr
today-at = heute, { $time } Uhr
date-at = { $day }. { $month }, { $time } Uhr
day-at = { $day }, { $time } Uhr

## Regionen mit einem Namen für Menschen; andere zeigen ihre Kennung
region-eu-central = Frankfurt
region-us-east = Ashburn
region-ap-southeast = Singapur
region-sa-east = São Paulo
region-ap-northeast = Tokio

## Felder
field-name = Vor- und Nachname
field-phone = Telefon
field-email = E-Mail
field-street = Straße und Hausnummer
field-postal_code = Postleitzahl
field-city = Ort
field-left = Ende
field-country = Land (zwei Buchstaben)
field-area = Tisch oder Raum
area-choose = Bitte auswählen
optional = (freiwillig)
list-or = { $first } oder { $second }
list-with = { $first } mit { $second }
reach-hint = Eine dieser Angaben genügt: { $ways }.

## Einchecken
checkin-title = Einchecken: { $venue }
checkin-at = Sie checken ein bei
checkin-who = Nur das Gesundheitsamt darf diese Angaben abfragen, über den Betrieb und nur bei einer Ansteckung. Am <strong>{ $day }</strong> werden sie überall gelöscht.
checkin-notice = Was mit Ihren Angaben geschieht
checkin-add = Weitere Person
checkin-add-shared = Weitere Person aus demselben Haushalt
checkin-person = Person { $number }
checkin-household = Was hier leer bleibt, gilt wie bei der ersten Person.
checkin-send = Jetzt einchecken
checkin-foot = Ohne Konto, ohne Standort, ohne Cookies.
checkin-foot-offline = Geht auch ohne Netz: dann senden wir, sobald Sie wieder online sind.
checkin-remember = Meine Angaben auf diesem Gerät merken
checkin-refusing = Im Augenblick können hier keine Besuche gespeichert werden. Bitte füllen Sie das Formular trotzdem aus und senden Sie es ab: die meisten Geräte behalten es und senden es später. Sagt Ihres etwas anderes, bitten Sie das Personal um einen Papierzettel.
checkin-incomplete = Das Formular kam nicht vollständig an, deshalb wurde nichts gespeichert. Ihre Eingaben sind noch da: bitte senden Sie es noch einmal ab.
checkin-not-stored = Ihr Besuch wurde nicht gespeichert, weil der Dienst überlastet ist oder repariert wird. Ihre Eingaben sind noch da: bitte senden Sie sie in einer Minute noch einmal ab, oder bitten Sie das Personal um einen Papierzettel.

## Fehler eines Formulars
error-title = Fehler: { $title }
errors-heading = Es gibt ein Problem
error-required = Bitte ausfüllen: { $field }.
error-contact_required = Bitte geben Sie an, wie wir Sie erreichen: { $ways }.
error-too_long = { $field }: das ist zu lang.
error-control_character = { $field }: bitte entfernen Sie die unsichtbaren Steuerzeichen.
error-bidi_character = { $field }: bitte entfernen Sie die Zeichen, die die Schreibrichtung ändern.
error-phone = Bitte geben Sie eine Telefonnummer ein, etwa 0170 1234567.
error-email = Bitte geben Sie eine E-Mail-Adresse ein, etwa name@example.com.
error-postal_code = Bitte geben Sie eine Postleitzahl dieses Landes ein.
error-country = Bitte geben Sie das Land mit zwei Buchstaben ein, etwa DE.
error-unknown_area = Bitte wählen Sie einen Tisch oder Raum dieses Betriebs.
error-too_old = Dieses Formular wurde vor mehr als einem Tag geöffnet. Bitte checken Sie noch einmal ein.
error-too_early = Die Uhr Ihres Geräts geht vor. Bitte checken Sie noch einmal ein.
error-stay_too_long = Der Aufenthalt wäre länger, als dieser Betrieb ihn festhält. Es wurde nichts geändert.
error-other = { $field }: bitte prüfen Sie Ihre Eingabe.

## Beleg
receipt-title = Beleg: { $venue }
receipt-title-plain = Beleg
receipt-show = Eingecheckt · bitte vorzeigen
receipt-left = Besuch beendet
receipt-repeat = Sie waren schon eingecheckt. Dies ist derselbe Besuch.
receipt-corrected = Ihre Änderungen sind gespeichert.
receipt-gone = Auf Wiedersehen! Als Ende ist { $time } gespeichert.
receipt-leave = Ich gehe jetzt
receipt-leave-all = Wir gehen jetzt
receipt-leave-alone = Nur { $name } geht
receipt-one-gone = Das Ende für { $name } ist gespeichert. Die anderen sind noch eingecheckt.
receipt-edit = Angaben ändern
receipt-save = Änderungen speichern
receipt-stored = Was gespeichert ist
receipt-arrived = Ankunft
receipt-departed = Ende
receipt-deleted-on = Wird am <strong>{ $when }</strong> überall gelöscht.
receipt-holds = Gespeichert in
receipt-yes = ja
receipt-not-yet = noch nicht
receipt-conflict = Zwei Angaben wurden zugleich gemacht: { $values }. Das Gesundheitsamt sieht beide; speichern Sie Ihre Angaben, um das zu klären.
receipt-erase = Jetzt überall löschen
receipt-erase-sure = Der Eintrag wird in allen Regionen sofort gelöscht und kommt nicht zurück. Der Betrieb kann dann nicht mehr sagen, dass Sie hier waren.
receipt-keep = Bewahren Sie die Adresse dieser Seite auf: nur wer sie hat, kann den Besuch ändern oder löschen.
receipt-keep-code = Notieren Sie diese Adresse und diesen Code: zusammen öffnen sie den Beleg wieder.
receipt-erased-title = Gelöscht
receipt-erased = Ihr Besuch ist gelöscht und kommt nicht zurück.
receipt-erased-in = Bestätigt in
receipt-erased-again = Noch einmal prüfen
receipt-expired = Die Zeit, für die dieser Besuch aufbewahrt wurde, ist vorbei. Er wurde überall gelöscht.
receipt-unknown = Dieser Besuch ist hier noch nicht bekannt. Ein Besuch, der eben erst in einer anderen Region eingetragen wurde, braucht eine Sekunde: bitte versuchen Sie es noch einmal.
receipt-open = Beleg öffnen
receipt-code = Code Ihres Belegs
receipt-code-hint = Der Teil der Adresse des Belegs hinter dem Zeichen #.
receipt-code-wrong = Dieser Code gehört nicht zu diesem Beleg. Bitte prüfen Sie, ob die Adresse vollständig ist.
receipt-opening = Der Beleg wird geöffnet…
receipt-try = Noch einmal versuchen

## Farben des Belegs
colour-violet = VIOLETT
colour-blue = BLAU
colour-green = GRÜN
colour-red = ROT
colour-brown = BRAUN
colour-grey = GRAU
colour-pink = PINK
colour-black = SCHWARZ

## Später gesendet
outbox-title = Noch nicht gesendet
outbox-body = Ihr Besuch ist auf diesem Gerät gespeichert und wird gesendet, sobald es ein Netz gibt. Bitte zeigen Sie diese Seite dem Personal, und lassen Sie sie möglichst offen.
outbox-failed = Ein Besuch, der auf diesem Gerät wartete, wurde nicht angenommen. Ihre Angaben stehen wieder im Formular: bitte prüfen Sie sie, und checken Sie noch einmal ein.
outbox-incomplete = Im Augenblick gibt es kein Netz. Bitte geben Sie Ihren Namen an und wie wir Sie erreichen: dann bleibt Ihr Besuch auf diesem Gerät und wird später gesendet.
outbox-offline = Im Augenblick gibt es kein Netz. Bitte versuchen Sie es in einer Minute noch einmal.
outbox-leaving = Ihr Gehen ist auf diesem Gerät gemerkt und wird gesendet, sobald es ein Netz gibt. Bitte lassen Sie diese Seite möglichst offen.
notice-waiting = Ein Besuch dieses Geräts ist noch nicht gesendet.
notice-sent = Ihr Besuch wurde gesendet.
outbox-show = Auf diesem Gerät eingecheckt · noch nicht gesendet

## Wenn etwas fehlt
missing-page-title = Diese Seite gibt es nicht
missing-page = Dies ist ein Gästeregister. Gäste scannen den Code an der Tür eines Betriebs; Betriebe finden ihre Liste in der Konsole.
missing-venue-title = Betrieb nicht gefunden
missing-venue = Diese Adresse zum Einchecken ist nicht bekannt. Bitte scannen Sie den Code an der Tür noch einmal, oder fragen Sie das Personal. Ein eben erst registrierter Betrieb braucht vielleicht eine Sekunde.
closed-title = Betrieb geschlossen
closed-venue = Dieser Betrieb nimmt keine Besuche mehr an.
uninvited-title = Neue Orte nur mit Einladung
uninvited = Bitten Sie den Betreiber des Dienstes um eine Einladung, und öffnen Sie deren Link.
trouble-title = Das hat nicht geklappt
trouble = Bitte versuchen Sie es in einer Minute noch einmal. Kommt es wieder vor, findet der Betreiber den Grund im Protokoll.

## Betriebe
venue-name = Name des Betriebs
venue-address = Anschrift
venue-timezone = Zeitzone
venue-retention = Wie lange Besuche aufbewahrt werden (etwa 14d)
venue-areas = Tische und Räume, je Zeile einer
error-timezone = Bitte wählen Sie eine Zeitzone, etwa Europe/Berlin.
error-retention = Bitte geben Sie eine Dauer ein, die die Regeln Ihres Betriebs erlauben, etwa 14d.
error-repeated = { $field }: einer steht zweimal da.

## Konsole
console-title = Konsole
console-overview = Übersicht
console-list = Gästeliste
console-slips = Papierzettel
console-settings = Einstellungen
console-logout = Abmelden
console-login = An der Konsole anmelden
console-login-go = Anmelden
console-wrong = Dieser Betrieb und dieser Schlüssel gehören nicht zusammen. Bitte übernehmen Sie beides von dem Blatt, das Sie bei der Registrierung Ihres Betriebs bekommen haben.
console-venue = Code des Betriebs
console-key = Schlüssel
console-new = Neuen Betrieb registrieren
console-register = Betrieb registrieren
console-register-go = Registrieren
console-zone-hint = Ein Name aus der IANA-Liste, etwa Europe/Berlin.
console-areas-hint = Jeder bekommt ein eigenes Plakat. Weitere können Sie später ergänzen.
console-made = Ihr Betrieb ist registriert
console-made-key = Bewahren Sie diesen Schlüssel auf. Er wird nur jetzt gezeigt, und ohne ihn kann niemand die Konsole Ihres Betriebs öffnen. Drucken Sie diese Seite, oder schreiben Sie den Schlüssel ab.
console-made-next = Plakat aufhängen
console-made-checkin = Ihre Gäste checken ein unter
console-here = Jetzt im Haus
console-arrived = Heute angekommen
console-hours = Ankünfte heute, je Stunde
console-hours-hour = Stunde
console-hours-persons = Personen
console-areas = Jetzt im Haus, je Tisch und Raum
console-date = Tag
console-from = Von
console-to = Bis
console-time-hint = Leer: der ganze Tag. Uhrzeiten, die vor ihrem Anfang enden, enden am nächsten Tag.
console-area-any = überall
console-count = Gäste zählen
console-counted = { $visits ->
    [one] Ein Besuch
   *[other] { $visits } Besuche
  }, { $persons ->
    [one] eine Person
   *[other] { $persons } Personen
  }
console-reason = Wozu brauchen Sie die Namen?
reason-health-office = Das Gesundheitsamt fragt an
reason-infection = Ein Gast hat eine Ansteckung gemeldet
reason-guest-asked = Ein Gast fragt nach den eigenen Daten
reason-check = Prüfung der Angaben von Gästen
console-show = Liste zeigen
console-reason-note = Jedes Lesen wird mit seinem Grund gezählt.
console-bad-date = Bitte geben Sie einen Tag ein, etwa 2026-11-28.
console-bad-time = Bitte geben Sie Uhrzeiten wie 18:00 ein.
console-complete = Vollständig.
console-complete-words = Alle Besuche, die eine Region angenommen hat, stehen in der Liste.
console-nearly = Fast vollständig.
console-nearly-words = { $region } nur bis { $when }: später dort erfasste Besuche fehlen noch.
console-complete-in = Auf dem neuesten Stand: { $regions }.
console-unheard = Von { $region } hat dieser Knoten seit seinem Start nichts gehört.
console-complete-through = Vollständig bis { $when }.
console-complete-words-through = Alle Besuche, die eine Region bis dahin angenommen hat, stehen in der Liste.
console-back = Zurück zur Liste
console-since = { $count ->
    [0] Seit Ihrem letzten Abruf ({ $when }) kam nichts dazu.
    [one] Seit Ihrem letzten Abruf ({ $when }) kam ein Besuch dazu.
   *[other] Seit Ihrem letzten Abruf ({ $when }) kamen { $count } Besuche dazu.
  }
console-look-again = Noch einmal abrufen
console-col-time = Ankunft – Ende
console-col-minutes = Überschneidung
console-col-persons = Personen
console-person-left = bis { $time }
console-col-notes = Hinweis
console-minutes = { $minutes } min
console-new-mark = neu dazugekommen
console-conflict = zugleich eingetragen: { $values }
console-contacts = Kontakte eines Besuchs
console-contacts-show = Kontakte
console-contacts-none = Kein anderer Besuch überschneidet sich mit diesem.
console-none = Keine Besuche in dieser Zeit.
console-more = Nur die ersten 500 Besuche werden gezeigt. Laden Sie die Liste herunter, um alle zu bekommen.
console-unreadable = Einige Einträge sind nicht lesbar und fehlen in dieser Liste: { $count }. Bitte sagen Sie es dem Betreiber; die Liste einer anderen Region hat sie vielleicht.
console-timeline = Zeitleiste der Besuche
console-timeline-estimated = schraffiert: das Ende ist geschätzt
console-excel = Excel
console-csv = CSV
console-ndjson = NDJSON
console-print = Drucken
console-printed = Gedruckt: { $when }
console-destroy = Spätestens am { $day } vernichten.
console-why = Grund
console-saved = Ihre Änderungen sind gespeichert.
console-save = Speichern
console-close = Diesen Betrieb schließen
console-close-words = Der Betrieb nimmt keine Besuche mehr an und kann nicht wieder geöffnet werden. Mit Ihrem Schlüssel lesen Sie die Gästeliste, bis der letzte Besuch gelöscht ist.
console-close-sure = Ich will den Betrieb endgültig schließen
console-closed = Dieser Betrieb ist geschlossen. Die Gästeliste bleibt, bis der letzte Besuch gelöscht ist, spätestens am { $day }.
console-posters = Plakate
sheet-a4 = A4
sheet-a5 = A5
sheet-tent = Aufsteller
console-poster-all = Je Tisch und Raum eine Seite
console-poster-svg = Den Schriften des PDF fehlen Zeichen Ihrer Namen. Bitte drucken Sie das SVG.
console-kiosk = Tablet an der Tür
console-kiosk-open = Check-in-Seite für ein Tablet öffnen
console-kiosk-hint = Sie behält nichts auf dem Tablet und zeigt nach 20 Sekunden wieder das leere Formular.
slip-title = Papierzettel eintragen
slip-time = Uhrzeit der Ankunft
slip-date = Tag der Ankunft
slip-bad = Bitte geben Sie Tag und Uhrzeit vom Zettel ein, höchstens 24 Stunden zurück.
slip-stored = Gespeichert: { $code }. Schreiben Sie diesen Code auf den Zettel, und bewahren Sie den Zettel auf, bis er mit dem Besuch vernichtet wird.
slip-save = Zettel speichern
slip-twice = Dieser Zettel wurde schon mit anderen Angaben gespeichert.

## Plakate
poster-headline = Bitte einchecken
poster-scan = Code scannen
poster-enter = Angaben eintragen
poster-show = Beleg vorzeigen
poster-by-hand = Ohne Kamera:
poster-privacy = Nur das Gesundheitsamt darf Ihre Angaben abfragen, über den Betrieb. Nach { $days ->
    [one] einem Tag
   *[other] { $days } Tagen
  } werden sie überall gelöscht.
poster-code = QR-Code mit der Adresse zum Einchecken
poster-fold = Hier falten

## Tabellen
table-arrived = Ankunft
table-arrived_offset = UTC-Abstand (Ankunft)
table-left = Ende
table-left_offset = UTC-Abstand (Ende)
table-time_zone = Zeitzone
table-left_estimated = Ende geschätzt
table-certainty = Verlässlichkeit
table-area = Tisch oder Raum
table-person = Person
table-contact_person = Erreichbar über Person
table-name = Name
table-phone = Telefon
table-email = E-Mail
table-street = Straße
table-postal_code = Postleitzahl
table-city = Ort
table-country = Land
table-region = Region
table-conflicts = Widersprüchliche Angaben
table-visit_id = Besuch
table-minutes = Minuten zusammen
table-same_area = Gleicher Tisch oder Raum
table-exact = genau
table-end_estimated = Ende geschätzt
table-conflicting = mehrere Angaben
table-late = nachträglich erfasst
table-yes = ja
table-no = nein
table-guests_sheet = Gäste
table-completeness_sheet = Vollständigkeit
table-complete_through = Vollständig bis
table-complete_offset = UTC-Abstand
table-unknown = unbekannt
table-unreadable = Unlesbare Einträge, die in dieser Liste fehlen
table-truncated = Kürzere Kontakte fehlen in dieser Liste
table-page_of = Seite {"{page}"} von {"{pages}"}
kiosk-take = Beleg mitnehmen
kiosk-take-words = Scannen Sie diesen Code mit Ihrem Handy. Dort können Sie sagen, dass Sie gehen, Ihre Angaben ändern oder löschen.
kiosk-thanks = Danke! Diese Seite leert sich von selbst.
