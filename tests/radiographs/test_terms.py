"""Body parts by the names that real registrations give them."""

import tomllib
from importlib import resources

import pytest
from radiographs.cards import known_cards
from radiographs.terms import (
    LANGUAGES,
    fits,
    fitting,
    parts_of,
    parts_of_body_part,
    parts_of_codes,
    term_of,
    unknown_classes,
)

TABLE = tomllib.loads(resources.files("radiographs").joinpath("terms.toml").read_text("utf-8"))
PARTS = [name for name in TABLE if name not in ("several", "ignored")]
UNIFESP = (
    "Abdomen", "Ankle", "Cervical Spine", "Chest", "Clavicles", "Elbow", "Feet", "Finger", "Forearm", "Hand", "Hip", "Knee",
    "Lower Leg", "Lumbar Spine", "Others", "Pelvis", "Shoulder", "Sinus", "Skull", "Thigh", "Thoracic Spine", "Wrist",
)  # fmt: skip

ENGLISH = {
    "XR KNEE AP LAT LEFT": "knee",
    "Knees bilateral standing 3 views": "knee",
    "CHEST PA & LATERAL": "chest",
    "CXR portable": "chest",
    "XR Chest 2 Views (PA, LAT)": "chest",
    "KUB": "abdomen",
    "ABD SUPINE": "abdomen",
    "AP pelvis": "pelvis",
    "XR Pelvis + Hip Rt (2V)": "pelvis, hip",
    "Lumbar spine AP/LAT": "lumbar spine",
    "L-Spine 2-3 views": "lumbar spine",
    "C-SPINE TRAUMA": "cervical spine",
    "Cervical spine with open mouth": "cervical spine",
    "thoracic_spine_lat": "thoracic spine",
    "THORACOLUMBAR SPINE": "thoracic spine, lumbar spine",
    "cervical and lumbar spine": "cervical spine, lumbar spine",
    "hand and wrist": "hand, wrist",
    "XR HAND RIGHT 3V": "hand",
    "Left thumb": "finger",
    "5th digit": "finger",
    "Scaphoid series": "wrist",
    "radius and ulna": "forearm",
    "radial head views": "elbow",
    "head of department": "",
    "Humerus LT": "upper arm",
    "Shoulder Y view": "shoulder, scapula",
    "shoulder blade": "scapula",
    "AC joints weight bearing": "acromioclavicular joint",
    "Tib/Fib right": "lower leg",
    "lower leg": "lower leg",
    "LEG LENGTH STUDY": "lower limb",
    "frog leg": "hip",
    "neck of femur fracture": "hip",
    "NOF # ?": "hip",
    "Femur Rt AP": "thigh",
    "femoral head": "hip",
    "Foot and ankle": "foot, ankle",
    "Great toe": "toe",
    "os calcis": "calcaneus",
    "Ribs unilat w/ chest": "ribs, chest",
    "Sinuses, Waters": "sinus",
    "Facial bones 3 views": "face",
    "Soft tissue neck": "neck",
    "Scoliosis series": "whole spine",
    "Bone age study": "hand",
    "Skeletal survey": "whole body",
    "Acute abdomen series": "abdomen, chest",
    "SI joints": "sacroiliac joint",
    "SKULL AP": "skull",
    "OPG": "jaw",
    "Upper extremity infant": "upper limb",
}
GERMAN = {
    "Hand re. 2 Ebenen": "hand",
    "LWS in 2 Ebenen": "lumbar spine",
    "HWS a.p. + seitl.": "cervical spine",
    "BWS/LWS": "thoracic spine, lumbar spine",
    "OSG li. 2 Eb.": "ankle",
    "Sprunggelenk links": "ankle",
    "Unterschenkel": "lower leg",
    "Ober-/Unterschenkel": "lower leg",
    "Oberschenkel rechts": "thigh",
    "Schenkelhals axial": "hip",
    "Hüftgelenk bds.": "hip",
    "HUEFTE LI": "hip",
    "Hüft-TEP Kontrolle": "hip",
    "Beckenübersicht": "pelvis",
    "Beckenuebersicht a.p.": "pelvis",
    "Thorax2Ebenen": "chest",
    "Lunge p.a.": "chest",
    "Knöcherner Hemithorax": "ribs",
    "Fuß dorsoplantar": "foot",
    "FUSS LINKS": "foot",
    "Großzehe": "toe",
    "Fersenbein": "calcaneus",
    "Kniegelenk stehend": "knee",
    "Ellenbogengelenk": "elbow",
    "Schulter Outlet": "shoulder",
    "Schlüsselbein": "clavicle",
    "Handgelenk dv": "wrist",
    "Daumen rechts": "finger",
    "NNH": "sinus",
    "Schädel a.p. und seitlich": "skull",
    "Nasenbein": "face",
    "Steißbein": "sacrum",
    "Ganzbeinstandaufnahme Beinachse": "lower limb",
    "Handsprechstunde": "",
}
FRENCH = {
    "Radio de la main droite face et oblique": "hand",
    "MAIN GAUCHE": "hand",
    "Main Campus portable": "",
    "Genou G F+P": "knee",
    "Thorax de face": "chest",
    "THORAX FACE DEBOUT": "chest",
    "Rachis lombaire F/P": "lumbar spine",
    "Rachis cervical": "cervical spine",
    "Rachis dorso-lombaire": "thoracic spine, lumbar spine",
    "Bassin de face": "pelvis",
    "Hanche droite": "hip",
    "Col du fémur": "hip",
    "Cheville": "ankle",
    "cou-de-pied gauche": "ankle",
    "Avant-pied": "foot",
    "Avant-bras": "forearm",
    "Épaule D": "shoulder",
    "Poignet": "wrist",
    "ASP": "abdomen",
    "Gril costal côté droit": "ribs",
    "côté gauche": "",
    "Orteils": "toe",
    "Os propres du nez": "face",
    "Jambe gauche": "lower leg",
}
SPANISH = {
    "Rodilla derecha AP y lateral": "knee",
    "RX DE TORAX PA": "chest",
    "Tórax de pie": "chest",
    "Rx de pie derecho": "foot",
    "PIE IZQ": "foot",
    "Dedos del pie": "toe",
    "Dedo de la mano": "finger",
    "COLUMNA LUMBOSACRA": "lumbar spine",
    "Columna dorsal": "thoracic spine",
    "Columna cervical, 3 proyecciones": "cervical spine",
    "Muñeca bilateral": "wrist",
    "MUNECA": "wrist",
    "Hombro": "shoulder",
    "Cúbito y radio": "forearm",
    "Tobillo": "ankle",
    "Cadera derecha": "hip",
    "Senos paranasales": "sinus",
    "Parrilla costal": "ribs",
    "Abdomen en decúbito dorsal": "abdomen",
    "Telerradiografía MMII": "lower limb",
}
PORTUGUESE = {
    "RX MAO ESQUERDA": "hand",
    "Rx tórax": "chest",
    "RX coluna lombar": "lumbar spine",
    "RX COLUNA LOMBO-SACRA AP/P": "lumbar spine",
    "Coluna cervical": "cervical spine",
    "Coluna dorsal": "thoracic spine",
    "RX Joelho D": "knee",
    "RX PE DIREITO": "foot",
    "Pé": "foot",
    "CT PE protocol": "",
    "Tornozelo esquerdo": "ankle",
    "RX BACIA": "pelvis",
    "Quadril D": "hip",
    "PUNHO D/E": "wrist",
    "Antebraço": "forearm",
    "Seios da face (F/N)": "sinus",
    "Arcos costais": "ribs",
    "Abdome agudo": "abdomen, chest",
    "Crânio F+P": "skull",
    "5º quirodáctilo": "finger",
    "Pododáctilos": "toe",
    "Escanometria": "lower limb",
    "Cavum": "nasopharynx",
    "Clavícula": "clavicle",
    "Úmero": "upper arm",
}
ITALIAN = {
    "Ginocchio dx": "knee",
    "RX TORACE": "chest",
    "Rachide lombo-sacrale": "lumbar spine",
    "Colonna cervicale": "cervical spine",
    "Rachide dorsale": "thoracic spine",
    "Polso sx": "wrist",
    "Mano": "hand",
    "Piede sotto carico": "foot",
    "Caviglia": "ankle",
    "Bacino": "pelvis",
    "anche": "",
    "Spalla destra": "shoulder",
    "Gomito": "elbow",
    "Addome diretta": "abdomen",
    "Emicostato sinistro": "ribs",
    "Avambraccio": "forearm",
    "Collo femore": "hip",
    "Seni paranasali": "sinus",
}
NOTHING_IS_MEANT = dict.fromkeys(
    ["", "AP", "unknown", "2 views", "chest pain clinic", "Hand surgery", "hand clinic", "on hand", "C-arm", "6 feet", "Polytrauma",
     "handsome", "chestnut", "sinus rhythm", "mobile unit", "\x00\x01", "???", "12345"], ""
)  # fmt: skip
REAL_LIFE = ENGLISH | GERMAN | FRENCH | SPANISH | PORTUGUESE | ITALIAN | NOTHING_IS_MEANT


def several(text: str) -> frozenset[str]:
    return frozenset(part for part in text.split(", ") if part)


@pytest.mark.parametrize(("text", "expected"), REAL_LIFE.items(), ids=lambda text: ascii(text))
def test_a_text_names_its_parts_and_no_others(text: str, expected: str) -> None:
    assert parts_of(text) == several(expected)


def test_there_are_enough_texts_of_each_language() -> None:
    assert len(REAL_LIFE) >= 150
    assert min(map(len, (ENGLISH, GERMAN, FRENCH, SPANISH, PORTUGUESE, ITALIAN))) >= 18


def test_names_of_projections_count_only_where_a_projection_is_told() -> None:
    assert parts_of("Dr. Waters, seen by Harris") == frozenset()
    assert parts_of("WATERS", views=True) == {"sinus"}
    assert parts_of("Mortise", views=True) == {"ankle"}
    assert parts_of("Hand ap", views=True) == {"hand"}


@pytest.mark.parametrize("part", PARTS)
def test_every_word_of_the_table_names_its_part(part: str) -> None:
    for language in LANGUAGES:
        for word in TABLE[part].get(language, ()):
            assert part in parts_of(word.removeprefix("=")), f"{language}: {word}"


@pytest.mark.parametrize("part", PARTS)
def test_every_region_and_likeness_is_a_part(part: str) -> None:
    assert {*TABLE[part].get("within", ()), *TABLE[part].get("like", ())} <= {*PARTS}
    assert part not in TABLE[part].get("like", ())


def test_every_code_is_one_of_snomed_ct_as_the_standard_uses_it_and_names_one_thing() -> None:
    pytest.importorskip("pydicom")
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr._concepts_dict import concepts

    known: dict[str, set[int]] = {}
    for name, meanings in concepts["SCT"].items():
        for code, (_, groups) in meanings.items():
            known.setdefault(code, set()).update(groups, {4} if name in cid_concepts[4]["SCT"] else ())
    used = [
        code for entry in (*(TABLE[p] for p in PARTS), *TABLE["several"].values()) for code in entry.get("codes", ())
    ]
    assert len(used) == len(set(used)) > 60
    assert not [code for code in used if code not in known]
    outside = {code for code in used if 4 not in known[code]}
    assert outside == {
        "110535000",
        "62413002",
        "23416004",
        "110536004",
        "12611008",
    }  # as the table says: CID 7304 and 7482


def test_codes_name_the_parts_that_the_standard_calls_so() -> None:
    pytest.importorskip("pydicom")
    from pydicom.sr.codedict import codes

    names = {"Hand": "hand", "KneeJoint": "", "Knee": "knee", "LumboSacralSpine": "lumbar spine", "Thumb": "finger", "Thorax": "chest",
             "CervicalSpine": "cervical spine", "ThoracicSpine": "thoracic spine", "Foot": "foot", "AnkleJoint": "ankle", "Skull": "skull",
             "ParanasalSinus": "sinus", "Abdomen": "abdomen", "Pelvis": "pelvis", "Hip": "hip", "HipJoint": "hip", "Shoulder": "shoulder",
             "Clavicle": "clavicle", "ElbowJoint": "elbow", "Forearm": "forearm", "WristJoint": "wrist", "Thigh": "thigh", "Femur": "thigh",
             "LowerLeg": "lower leg", "Finger": "finger", "Toe": "toe", "Calcaneus": "calcaneus", "Rib": "ribs", "Mandible": "jaw"}  # fmt: skip
    for name, part in names.items():
        if part:
            assert parts_of_codes([getattr(codes.cid4, name).value]) == {part}, name
    assert parts_of_codes(["1217256009"]) == {"thoracic spine", "lumbar spine"}
    assert parts_of_codes(["12738006"]) == frozenset()  # brain


def test_defined_terms_are_code_strings_and_each_names_one_thing() -> None:
    terms = [
        term for entry in (*(TABLE[p] for p in PARTS), *TABLE["several"].values()) for term in entry.get("terms", ())
    ]
    assert len(terms) == len(set(terms))
    assert all(term.isascii() and term.isupper() and term.isalpha() and len(term) <= 16 for term in terms)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("HAND", "hand"), ("LSPINE", "lumbar spine"), ("L SPINE", "lumbar spine"), ("lumbar_spine", "lumbar spine"), ("TLSPINE", "thoracic spine, lumbar spine"),
     ("LEG", "leg"), ("LOWERLEG", "lower leg"), ("ARM", "arm"), ("FACE", "face"), ("ABDOMENPELVIS", "abdomen, pelvis"), ("KNIE", "knee"),
     ("JOELHO", "joelho"), ("UNKNOWN", ""), ("OTHER", ""), ("", "")],
)  # fmt: skip
def test_a_body_part_is_a_term_of_the_standard_or_free_text(value: str, expected: str) -> None:
    assert parts_of_body_part(value) == several(expected.replace("joelho", "knee"))


@pytest.mark.parametrize(
    ("registered", "name", "expected"),
    [
        ("spine", "Cervical Spine", True), ("spine", "Chest", False), ("lumbar spine", "Thoracic Spine", False),
        ("leg", "Knee", True), ("leg", "Lower Leg", True), ("leg", "Ankle", True), ("leg", "Feet", False),
        ("lower limb", "Feet", True), ("upper limb", "Feet", False), ("extremity", "Clavicles", True),
        ("hand", "Finger", True), ("finger", "Hand", True), ("hand", "Wrist", False), ("wrist", "Hand", False),
        ("calcaneus", "Feet", True), ("calcaneus", "Ankle", True), ("ankle", "Feet", False),
        ("thigh", "Knee", True), ("knee", "Thigh", False), ("pelvis", "Hip", True), ("hip", "Pelvis", True),
        ("hip", "Knee", False), ("whole body", "Skull", True), ("whole spine", "Chest", True), ("spine", "XYZ", True),
    ],
)  # fmt: skip
def test_what_fits_a_registration(registered: str, name: str, expected: bool) -> None:
    assert fits(several(registered), name) is expected


def test_any_of_several_parts_is_enough() -> None:
    assert fits(parts_of("hand and wrist"), "Wrist")
    assert fits(parts_of("hand and wrist"), "Hand")
    assert not fits(parts_of("hand and wrist"), "Elbow")


def test_a_class_for_the_rest_fits_what_has_no_class() -> None:
    assert fitting(several("upper arm"), UNIFESP) == {"Shoulder", "Elbow", "Others"}
    assert fitting(several("hand"), UNIFESP) == {"Hand", "Finger"}
    assert "Others" not in fitting(several("spine"), UNIFESP)
    assert "Others" in fitting(parts_of("hand, ribs"), UNIFESP)


def test_every_class_of_the_card_is_known_and_fits_itself() -> None:
    names = tuple(known_cards()["unifesp"].classes.values())
    assert names == UNIFESP
    assert unknown_classes(names) == ()
    for name in (name for name in names if name != "Others"):
        assert fits(parts_of(name), name)
        assert term_of(parts_of(name)) in TABLE[next(iter(parts_of(name)))]["terms"]


def test_unknown_classes_are_named() -> None:
    assert unknown_classes(["Hand", "AbdomenCT", "Others", "class_7"]) == ("AbdomenCT", "class_7")


def test_a_term_stands_for_exactly_these_parts() -> None:
    assert term_of(several("hand")) == "HAND"
    assert term_of(several("thoracic spine, lumbar spine")) == "TLSPINE"
    assert term_of(several("hand, chest")) == ""
    assert term_of(frozenset()) == ""
