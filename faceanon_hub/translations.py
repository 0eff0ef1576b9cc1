"""The demo's words in other languages: labels, which the browser picks, and what is said about a photo."""

from __future__ import annotations

_KEYS = [
    "title", "notice", "photo", "photos", "example", "light", "color", "seed", "dice", "more", "attributes",
    "glasses", "fallback",
    "threshold", "margin", "truncation", "result", "download", "faces", "keep", "replace", "renew", "variants", "kept",
    "stages", "batch", "anonymize", "archive", "clip", "start", "end", "sound", "preview", "privacy", "softening",
    "tiny",
]  # fmt: skip

_TEXTS = {
    "en": [
        "# Faces of nobody\nEvery face in your photo is replaced by a realistic face of somebody who does not exist. "
        "Expression, gaze, pose, light and skin colour stay.",
        "Photos are processed on this machine, deleted within an hour, and neither logged nor passed on. "
        "A face that is not found is not hidden: look at every result.",
        "Photo", "Photos", "Example", "Light of the original", "Skin colour of the original",
        "Seed: picks the new identities", "New identities", "More settings", "Age and sex of the new face follow",
        "Glasses of the new face",
        "Hide faces that cannot be replaced by", "Confidence from which something is a face",
        "Hidden rim round the face", "Variety of faces", "Before and after", "Download", "Faces", "Keep as it is",
        "Replace", "New identity", "Four variants", "What was kept", "Stages", "Several photos", "Anonymize",
        "Archive with report",
        "Video (up to 60 seconds at a time)", "From (seconds)", "To (seconds)", "Keep the sound",
        "Preview of the first frame",
        "Privacy: 0 keeps expression best, 1 is farthest from the original", "Blur of hair, ears and neck",
        "Find faces down to 6 pixels and hide the tiny ones: five times as slow",
    ],
    "de": [
        "# Gesichter von niemandem\nJedes Gesicht im Foto wird durch ein echt wirkendes Gesicht eines Menschen "
        "ersetzt, den es nicht gibt. Ausdruck, Blick, Haltung, Licht und Hautfarbe bleiben.",
        "Fotos werden auf diesem Rechner verarbeitet, binnen einer Stunde gelöscht und weder protokolliert noch "
        "weitergegeben. Ein nicht gefundenes Gesicht ist nicht verborgen: Prüfen Sie jedes Ergebnis.",
        "Foto", "Fotos", "Beispiel", "Licht des Originals", "Hautfarbe des Originals",
        "Startwert: wählt die neuen Gesichter", "Neue Gesichter", "Weitere Einstellungen",
        "Alter und Geschlecht des neuen Gesichts richten sich nach", "Brille des neuen Gesichts",
        "Nicht ersetzbare Gesichter verbergen durch",
        "Ab welcher Sicherheit etwas ein Gesicht ist", "Verborgener Rand um das Gesicht", "Vielfalt der Gesichter",
        "Vorher und nachher", "Herunterladen", "Gesichter", "So lassen", "Ersetzen", "Neues Gesicht", "Vier Varianten",
        "Was erhalten blieb", "Schritte", "Mehrere Fotos", "Anonymisieren", "Archiv mit Bericht",
        "Video (bis 60 Sekunden auf einmal)", "Von (Sekunden)", "Bis (Sekunden)", "Ton behalten",
        "Vorschau des ersten Bildes",
        "Privatheit: 0 erhält den Ausdruck am besten, 1 entfernt sich am weitesten vom Original",
        "Unschärfe von Haaren, Ohren und Hals",
        "Gesichter ab 6 Pixeln finden und die winzigen verbergen: fünfmal so langsam",
    ],
    "fr": [
        "# Visages de personne\nChaque visage de la photo est remplacé par celui, réaliste, d'une personne qui "
        "n'existe pas. Expression, regard, pose, lumière et couleur de peau restent.",
        "Les photos sont traitées sur cette machine, effacées dans l'heure, ni journalisées ni transmises. "
        "Un visage non trouvé n'est pas caché : vérifiez chaque résultat.",
        "Photo", "Photos", "Exemple", "Lumière de l'original", "Couleur de peau de l'original",
        "Graine : choisit les nouveaux visages", "Nouveaux visages", "Autres réglages",
        "L'âge et le sexe du nouveau visage suivent", "Lunettes du nouveau visage",
        "Cacher les visages non remplaçables par",
        "Confiance à partir de laquelle c'est un visage", "Bord caché autour du visage", "Variété des visages",
        "Avant et après", "Télécharger", "Visages", "Laisser tel quel", "Remplacer", "Nouveau visage",
        "Quatre variantes", "Ce qui est conservé", "Étapes", "Plusieurs photos", "Anonymiser", "Archive avec rapport",
        "Vidéo (jusqu'à 60 secondes à la fois)", "De (secondes)", "À (secondes)", "Garder le son",
        "Aperçu de la première image",
        "Confidentialité : 0 garde le mieux l'expression, 1 s'éloigne le plus de l'original",
        "Flou des cheveux, des oreilles et du cou",
        "Trouver les visages dès 6 pixels et cacher les minuscules : cinq fois plus lent",
    ],
    "es": [
        "# Caras de nadie\nCada cara de la foto se sustituye por la cara realista de alguien que no existe. "
        "Expresión, mirada, postura, luz y color de piel permanecen.",
        "Las fotos se procesan en esta máquina, se borran en una hora y no se registran ni se comparten. "
        "Una cara no encontrada no queda oculta: revise cada resultado.",
        "Foto", "Fotos", "Ejemplo", "Luz del original", "Color de piel del original",
        "Semilla: elige las caras nuevas", "Caras nuevas", "Más ajustes",
        "La edad y el sexo de la cara nueva siguen a", "Gafas de la cara nueva",
        "Ocultar las caras no sustituibles con", "Confianza a partir de la cual es una cara",
        "Borde oculto alrededor de la cara", "Variedad de caras", "Antes y después", "Descargar", "Caras",
        "Dejar como está", "Sustituir", "Cara nueva", "Cuatro variantes", "Qué se conservó", "Pasos", "Varias fotos",
        "Anonimizar", "Archivo con informe",
        "Vídeo (hasta 60 segundos a la vez)", "Desde (segundos)", "Hasta (segundos)", "Conservar el sonido",
        "Vista previa del primer fotograma",
        "Privacidad: 0 conserva mejor la expresión, 1 se aleja más del original",
        "Desenfoque de pelo, orejas y cuello",
        "Buscar caras desde 6 píxeles y ocultar las diminutas: cinco veces más lento",
    ],
    "it": [
        "# Volti di nessuno\nOgni volto della foto è sostituito dal volto realistico di qualcuno che non esiste. "
        "Espressione, sguardo, posa, luce e colore della pelle restano.",
        "Le foto sono elaborate su questa macchina, cancellate entro un'ora, né registrate né trasmesse. "
        "Un volto non trovato non è nascosto: controlli ogni risultato.",
        "Foto", "Foto", "Esempio", "Luce dell'originale", "Colore della pelle dell'originale",
        "Seme: sceglie i nuovi volti", "Nuovi volti", "Altre impostazioni",
        "Età e sesso del nuovo volto seguono", "Occhiali del nuovo volto", "Nascondere i volti non sostituibili con",
        "Sicurezza da cui è un volto", "Bordo nascosto attorno al volto", "Varietà dei volti", "Prima e dopo",
        "Scarica", "Volti", "Lascia com'è", "Sostituisci", "Nuovo volto", "Quattro varianti", "Che cosa è rimasto",
        "Passaggi", "Più foto", "Anonimizza", "Archivio con rapporto",
        "Video (fino a 60 secondi alla volta)", "Da (secondi)", "A (secondi)", "Mantieni l'audio",
        "Anteprima del primo fotogramma",
        "Riservatezza: 0 conserva meglio l'espressione, 1 si allontana di più dall'originale",
        "Sfocatura di capelli, orecchie e collo",
        "Trovare volti da 6 pixel e nascondere quelli minuscoli: cinque volte più lento",
    ],
    "ja": [
        "# 誰でもない顔\n写真の顔をすべて、実在しない人のリアルな顔に置き換えます。"
        "表情、視線、向き、光、肌の色は保たれます。",
        "写真はこのマシンで処理され、1時間以内に削除されます。記録も提供もされません。"
        "検出されなかった顔は隠されません。結果を必ずご確認ください。",
        "写真", "写真", "例", "元の光", "元の肌の色", "シード：新しい顔を決めます", "新しい顔", "その他の設定",
        "新しい顔の年齢と性別の手がかり", "新しい顔の眼鏡",
        "置き換えられない顔の隠し方", "顔とみなす確信度", "顔の周りの隠す範囲",
        "顔の多様さ", "前と後", "ダウンロード", "顔", "そのまま残す", "置き換える", "別の顔", "4つの候補",
        "保たれたもの", "工程", "複数の写真", "匿名化する", "レポート付きアーカイブ",
        "動画（一度に60秒まで）", "開始（秒）", "終了（秒）", "音声を残す", "最初のフレームのプレビュー",
        "プライバシー：0は表情を優先、1は元から最も離れます", "髪、耳、首のぼかし",
        "6ピクセル以上の顔を探し、ごく小さい顔を隠す（5倍の時間）",
    ],
}  # fmt: skip

_SAID_KEYS = [
    "face", "status_new", "status_hidden", "status_kept", "stage_hidden", "stage_landmarks", "stage_drawn",
    "stage_composed", "expression_kept", "expression_roughly", "expression_changed", "expression_unknown",
    "light_kept", "light_roughly", "light_changed", "light_diffuse", "color_kept", "color_roughly", "color_changed",
    "recognized", "not_recognized", "similarity_unknown", "no_guarantee", "no_face", "weak", "choose_face",
    "choose_photo", "too_many", "some_failed", "unusable", "choose_video", "too_long", "span", "starts_late",
    "not_sent", "bad_value", "bad_count", "stopped", "failed", "no_such_call", "too_large", "busy", "crowd",
]  # fmt: skip

_SAID = {
    "en": [
        "Face", "new face", "hidden", "kept", "What is left of the photo", "478 landmarks", "Drawn",
        "Light and colour of the original", "expression kept", "expression roughly kept", "expression changed",
        "expression not measurable", "light kept", "light roughly kept", "light changed", "light from all around",
        "skin colour kept", "skin colour nearly kept", "skin colour changed",
        "a face recognizer still takes it for the original", "a face recognizer takes it for somebody else",
        "likeness not measured", "A score is no guarantee: hair, clothes and place still tell who somebody is.",
        "No face was found: the photo is unchanged. What is not found is not hidden.",
        "Hidden, not replaced: {}.", "Choose a face in the gallery first.", "Choose a photo first.",
        "At most {} photos at a time.", "{} of {} files could not be read: see report.json in the archive.",
        "This file cannot be used: {}",
        "Choose a video first.", "At most {} seconds at a time: set from and to.",
        "The end must come after the start.",
        "The video ends before that start.",
        "Only a file that was sent to this page can be used.",
        "{}: not a value that can be used here.",
        "This call takes {} values, not {}.",
        "Stopped: it was cancelled, or took too long.",
        "This did not work. Try another file or other settings.",
        "This page does not answer such a call.",
        "Too large to be sent to this page.",
        "Too many jobs of yours are waiting. Try again later.",
        "A crowd: the smallest faces may have been missed. A box under the other settings looks for smaller ones.",
    ],
    "de": [
        "Gesicht", "neues Gesicht", "verborgen", "belassen", "Was vom Foto übrig ist", "478 Punkte", "Gezeichnet",
        "Licht und Farbe des Originals", "Ausdruck erhalten", "Ausdruck ungefähr erhalten", "Ausdruck verändert",
        "Ausdruck nicht messbar", "Licht erhalten", "Licht ungefähr erhalten", "Licht verändert",
        "Licht von allen Seiten", "Hautfarbe erhalten", "Hautfarbe fast erhalten", "Hautfarbe verändert",
        "eine Gesichtserkennung hält es noch für das Original", "eine Gesichtserkennung hält es für jemand anderen",
        "Ähnlichkeit nicht gemessen",
        "Eine Zahl ist keine Gewähr: Haare, Kleidung und Ort verraten weiterhin, wer jemand ist.",
        "Kein Gesicht gefunden: Das Foto ist unverändert. Was nicht gefunden wird, ist nicht verborgen.",
        "Verborgen statt ersetzt: {}.", "Wählen Sie zuerst ein Gesicht in der Galerie.",
        "Wählen Sie zuerst ein Foto.", "Höchstens {} Fotos auf einmal.",
        "{} von {} Dateien waren nicht lesbar: siehe report.json im Archiv.",
        "Diese Datei ist nicht verwendbar: {}",
        "Wählen Sie zuerst ein Video.", "Höchstens {} Sekunden auf einmal: Setzen Sie Von und Bis.",
        "Das Ende muss nach dem Anfang liegen.",
        "Das Video endet vor diesem Anfang.",
        "Nur eine Datei, die an diese Seite geschickt wurde, ist verwendbar.",
        "{}: hier kein verwendbarer Wert.",
        "Dieser Aufruf braucht {} Werte, nicht {}.",
        "Angehalten: Es wurde abgebrochen oder dauerte zu lange.",
        "Das ging nicht. Versuchen Sie eine andere Datei oder andere Einstellungen.",
        "Einen solchen Aufruf beantwortet diese Seite nicht.",
        "Zu groß, um es an diese Seite zu schicken.",
        "Zu viele Ihrer Aufträge warten. Versuchen Sie es später wieder.",
        "Eine Menge: Die kleinsten Gesichter fehlen vielleicht. Ein Kästchen bei den Einstellungen sucht kleinere.",
    ],
    "fr": [
        "Visage", "nouveau visage", "caché", "laissé", "Ce qui reste de la photo", "478 points", "Dessiné",
        "Lumière et couleur de l'original", "expression conservée", "expression à peu près conservée",
        "expression changée", "expression non mesurable", "lumière conservée", "lumière à peu près conservée",
        "lumière changée", "lumière de tous côtés", "couleur de peau conservée", "couleur de peau presque conservée",
        "couleur de peau changée", "une reconnaissance faciale le prend encore pour l'original",
        "une reconnaissance faciale le prend pour quelqu'un d'autre", "ressemblance non mesurée",
        "Un chiffre ne garantit rien : cheveux, vêtements et lieu disent encore qui est la personne.",
        "Aucun visage trouvé : la photo est inchangée. Ce qui n'est pas trouvé n'est pas caché.",
        "Caché, non remplacé : {}.", "Choisissez d'abord un visage dans la galerie.", "Choisissez d'abord une photo.",
        "Au plus {} photos à la fois.", "{} fichiers sur {} sont illisibles : voir report.json dans l'archive.",
        "Ce fichier est inutilisable : {}",
        "Choisissez d'abord une vidéo.", "Au plus {} secondes à la fois : réglez le début et la fin.",
        "La fin doit suivre le début.",
        "La vidéo finit avant ce début.",
        "Seul un fichier envoyé à cette page est utilisable.",
        "{} : valeur inutilisable ici.",
        "Cet appel prend {} valeurs, pas {}.",
        "Arrêté : annulé, ou trop long.",
        "Cela n'a pas marché. Essayez un autre fichier ou d'autres réglages.",
        "Cette page ne répond pas à un tel appel.",
        "Trop grand pour être envoyé à cette page.",
        "Trop de vos demandes attendent. Réessayez plus tard.",
        "Une foule : les plus petits visages ont pu échapper. Une case des autres réglages en cherche de plus petits.",
    ],
    "es": [
        "Cara", "cara nueva", "oculta", "intacta", "Lo que queda de la foto", "478 puntos", "Dibujada",
        "Luz y color del original", "expresión conservada", "expresión casi conservada", "expresión cambiada",
        "expresión no medible", "luz conservada", "luz casi conservada", "luz cambiada", "luz de todos lados",
        "color de piel conservado", "color de piel casi conservado", "color de piel cambiado",
        "un reconocedor facial aún la toma por el original", "un reconocedor facial la toma por otra persona",
        "parecido no medido",
        "Una cifra no garantiza nada: el pelo, la ropa y el lugar aún dicen quién es alguien.",
        "No se encontró ninguna cara: la foto no ha cambiado. Lo que no se encuentra no queda oculto.",
        "Ocultas, no sustituidas: {}.", "Elija primero una cara en la galería.", "Elija primero una foto.",
        "Como mucho {} fotos a la vez.", "{} de {} archivos no se pudieron leer: vea report.json en el archivo.",
        "Este archivo no se puede usar: {}",
        "Elija primero un vídeo.", "Como mucho {} segundos a la vez: fije desde y hasta.",
        "El final debe ir después del comienzo.",
        "El vídeo acaba antes de ese comienzo.",
        "Solo se puede usar un archivo enviado a esta página.",
        "{}: valor no utilizable aquí.",
        "Esta llamada toma {} valores, no {}.",
        "Detenido: se canceló o tardó demasiado.",
        "No funcionó. Pruebe otro archivo u otros ajustes.",
        "Esta página no responde a esa llamada.",
        "Demasiado grande para enviarlo a esta página.",
        "Esperan demasiados trabajos suyos. Inténtelo más tarde.",
        "Una multitud: pueden faltar las caras más pequeñas. Una casilla de los ajustes busca otras menores.",
    ],
    "it": [
        "Volto", "volto nuovo", "nascosto", "lasciato", "Ciò che resta della foto", "478 punti", "Disegnato",
        "Luce e colore dell'originale", "espressione conservata", "espressione quasi conservata",
        "espressione cambiata", "espressione non misurabile", "luce conservata", "luce quasi conservata",
        "luce cambiata", "luce da ogni lato", "colore della pelle conservato", "colore della pelle quasi conservato",
        "colore della pelle cambiato", "un riconoscitore lo prende ancora per l'originale",
        "un riconoscitore lo prende per un'altra persona", "somiglianza non misurata",
        "Un numero non garantisce nulla: capelli, abiti e luogo dicono ancora chi è una persona.",
        "Nessun volto trovato: la foto è invariata. Ciò che non è trovato non è nascosto.",
        "Nascosti, non sostituiti: {}.", "Scelga prima un volto nella galleria.", "Scelga prima una foto.",
        "Al massimo {} foto alla volta.", "{} file su {} non erano leggibili: veda report.json nell'archivio.",
        "Questo file non è utilizzabile: {}",
        "Scelga prima un video.", "Al massimo {} secondi alla volta: imposti da e a.",
        "La fine deve seguire l'inizio.",
        "Il video finisce prima di quell'inizio.",
        "Si può usare solo un file inviato a questa pagina.",
        "{}: valore non utilizzabile qui.",
        "Questa chiamata prende {} valori, non {}.",
        "Fermato: annullato, o troppo lungo.",
        "Non ha funzionato. Provi un altro file o altre impostazioni.",
        "Questa pagina non risponde a una tale chiamata.",
        "Troppo grande per essere inviato a questa pagina.",
        "Troppe sue richieste in attesa. Riprovi più tardi.",
        "Una folla: i volti più piccoli possono mancare. Una casella delle impostazioni ne cerca di minori.",
    ],
    "ja": [
        "顔", "新しい顔", "隠した顔", "そのままの顔", "写真に残るもの", "478の点", "描いた顔", "元の光と色",
        "表情は保たれています", "表情はおおよそ保たれています", "表情が変わりました", "表情は測定できません",
        "光は保たれています", "光はおおよそ保たれています", "光が変わりました", "全方向からの光",
        "肌の色は保たれています", "肌の色はほぼ保たれています", "肌の色が変わりました",
        "顔認識はまだ元の人と判断します", "顔認識は別人と判断します", "類似度は未測定",
        "数値は保証ではありません。髪、服、場所から誰か分かることがあります。",
        "顔が見つかりませんでした。写真は変わっていません。見つからない顔は隠されません。",
        "置き換えずに隠しました：{}。", "先にギャラリーで顔を選んでください。", "先に写真を選んでください。",
        "一度に{}枚までです。", "{}件（全{}件）を読み込めませんでした。アーカイブのreport.jsonをご覧ください。",
        "このファイルは使えません：{}",
        "先に動画を選んでください。", "一度に{}秒までです。開始と終了を指定してください。",
        "終了は開始より後にしてください。",
        "動画はその開始より前に終わります。",
        "使えるのは、このページに送られたファイルだけです。",
        "{}：ここでは使えない値です。",
        "この呼び出しの値は{}個で、{}個ではありません。",
        "停止しました。中止されたか、時間がかかりすぎました。",
        "うまくいきませんでした。別のファイルか設定をお試しください。",
        "このページはその呼び出しに応じません。",
        "このページに送るには大きすぎます。",
        "お待ちの処理が多すぎます。後でお試しください。",
        "人混みです。最も小さい顔は見落とした可能性があります。その他の設定で、より小さい顔を探せます。",
    ],
}  # fmt: skip

TRANSLATIONS = {language: dict(zip(_KEYS, texts, strict=True)) for language, texts in _TEXTS.items()}
SAID = {language: dict(zip(_SAID_KEYS, texts, strict=True)) for language, texts in _SAID.items()}


def words(accepted: str | None) -> dict[str, str]:
    """What is said about a photo, in a visitor's language.

    Args:
        accepted (`str`, *optional*):
            The `Accept-Language` that the browser sent, e.g. `"de-AT,de;q=0.9,en;q=0.8"`; its order decides.

    Returns:
        `dict[str, str]`: English where none of the languages is known.
    """
    for entry in (accepted or "").split(","):
        language = entry.split(";")[0].split("-")[0].strip().lower()
        if language in SAID:
            return SAID[language]
    return SAID["en"]
