"""The departments of the demo catalogue from the fourteenth on, and those it never holds.

Knows words only, in the notation of `rayon.data.synthetic_vocabulary`.
"""

from __future__ import annotations

from rayon.data.synthetic_vocabulary import read_departments

SMALL = read_departments("""
== Animalerie
families: dehors; bouche; maison
brands: Trixie; Ferplast; Royal Canin; Zolux; Flamingo; Karlie; Purina; Kerbl; Pawhut
nouns: Croquettes chien=sack; Croquettes chat stérilisé=sack; Arbre à chat=cattree; Panier chien=petbed;
  Coussin chien=petbed; Litière agglomérante=sack; Aquarium=aquarium; Cage oiseaux=cage; Cage de transport=cage;
  Gamelle inox=bowl; Laisse=leash; Harnais chien=leash; Collier anti-puces=leash; Jouet à mâcher=bone;
  Os à mâcher=bone; Griffoir=cattree; Niche=house; Clapier lapin=cage; Fontaine à eau chat=bowl; Pompe aquarium=pump;
  Brosse poils longs=brush; Sac à dos chat=bag
english: Dog Bed=petbed; Cat Tree=cattree; Pet Carrier=cage; Dog Leash=leash; Chew Toy=bone
details: sans céréales; anti-tartre; petit chien; chaton; lapin et rongeurs; sisal naturel; réfléchissant;
  riche en protéines; anti-griffures; eau douce; perchoir; chiot junior
sizes: {kg} kg; {l} L; taille {size}; {cm} cm
fresh: Traceur GPS pour chat; Distributeur de croquettes connecté; Litière autonettoyante
== Modélisme et drones
families: collection; enfants
brands: Revell; Heller; DJI; Syma; Tamiya; Jouef; Airfix; Parrot; Italeri; Hornby
nouns: Drone caméra=drone; Drone pliable=drone; Maquette avion=plane; Maquette bateau=boat; Locomotive HO=train;
  Wagon HO=train; Voiture miniature=car; Hélices drone=propeller; Batterie LiPo=battery;
  Hélicoptère radiocommandé=helicopter; Maquette char=tank; Buggy RC=car; Servo moteur=battery; Planeur=plane;
  Rails de train=track; Peinture maquette=tin; Camion miniature=truck; Variateur brushless=battery;
  Bateau radiocommandé=boat; Radiocommande 6 voies=walkie
english: RC Quadcopter=drone; Scale Model Plane=plane; Spare Propellers=propeller; LiPo Battery=battery; RC Buggy=car
details: 2,4 GHz; échelle 1/72; 7,4 V 1500 mAh; caméra 4K; à monter et peindre; brushless; gyroscope 6 axes;
  retour automatique; voie HO; châssis aluminium; temps de vol 20 min; decals inclus
sizes: 1/{n}; {h} mAh; {cm} cm; HO
fresh: Drone FPV cinéma; Aile volante EPP; Rover chenillé Arduino
== Jeux de société
families: enfants; papier
brands: Ravensburger; Gigamic; Days of Wonder; Iello; Dujardin; Hasbro Gaming; Asmodée; Cocktail Games
nouns: Jeu de plateau=board; Jeu de cartes famille=cards; Jeu d'échecs=chess; Jeu de dames=chess;
  Puzzle 1000 pièces=puzzle; Monopoly=board; Scrabble=board; Jeu de dés=dice; Jeu coopératif=gamebox;
  Jeu de stratégie=gamebox; Loto=board; Jeu d'ambiance=gamebox; Trivial Pursuit=gamebox; Jeu de tarot=cards;
  Dominos=dominoes; Escape game=gamebox; Jeu de l'oie=board; Petits chevaux=board; Jeu de mémoire=cards;
  Backgammon=chess; Uno=cards
english: Board Game=board; Chess Set=chess; Jigsaw Puzzle=puzzle; Dice Game=dice; Party Game=gamebox
details: 2 à 6 joueurs; dès 8 ans; partie 45 min; règles en français; plateau pliant; pions bois; extension;
  soirée entre amis; édition voyage; sablier; tuiles; stratégie et bluff
sizes: {vol} joueurs; {n} pièces; {age} ans; {n} cartes
fresh: Jeu narratif legacy; Roll and write; Murder party numérique
== Accessoires de jeu vidéo
families: ecran
brands: Trust; Bigben; Subsonic; Razer; HyperX; Nacon; Thrustmaster; Freaks and Geeks
nouns: Manette sans fil=gamepad; Manette filaire=gamepad; Joy-Con=gamepad; Volant et pédalier=wheel;
  Casque gamer=headset; Chargeur manette=charger; Câble HDMI console=cable; Étui Switch=bag;
  Protection écran Switch=tablet; Adaptateur secteur=charger; Carte mémoire=memory; Grips pour joystick=dice;
  Support console vertical=stand; Coque de protection manette=gamepad; Batterie manette=battery;
  Câble de recharge=cable; Sacoche console=bag; Ventilateur console=stand; Micro streaming=microphone
english: Wireless Controller=gamepad; Gaming Headset=headset; Charging Dock=charger; Memory Card=memory;
  Steering Wheel=wheel
details: double vibration; bluetooth; compatible PS4 et PC; micro intégré; câble 3 m; recharge USB-C; antidérapant;
  jack 3,5 mm; gâchettes; rétroéclairage LED; silicone; turbo
sizes: {m} m; {h} Go; PS4; Xbox One; Nintendo Switch; {h} mAh
fresh: Manette à effet Hall; Lunettes VR sans fil; Dock portable OLED
== Mobilier de jardin
families: dehors; maison
brands: Hespéride; Outsunny; DCB Garden; Grosfillex; Fermob; Proloisirs; Nardi; Jardiland
nouns: Salon de jardin=sofa; Table de jardin=table; Chaise de jardin pliante=chair; Bain de soleil=lounger;
  Chilienne=lounger; Parasol déporté=parasol; Pied de parasol=stand; Balancelle=swing; Hamac=hammock; Tonnelle=gazebo;
  Pergola=gazebo; Banc de jardin=bench; Coffre de rangement extérieur=drawers; Fauteuil Adirondack=armchair;
  Voile d'ombrage=tarp; Table pique-nique=bench; Housse salon de jardin=tarp; Tabouret de jardin=stool;
  Store banne=tarp; Coussin de palette=cushion
english: Garden Lounge Set=sofa; Patio Umbrella=parasol; Folding Garden Chair=chair; Sun Lounger=lounger;
  Hammock=hammock
details: résine tressée; teck massif; aluminium; textilène; toile imperméable 180 g/m²; inclinable; manivelle;
  structure acier; résistant aux intempéries; 6 places; lattes d'acacia; empilable
sizes: {d}x{d} cm; 3x{vol} m; Ø {d} cm; {vol} places
fresh: Pergola bioclimatique; Brasero plancha; Cuisine d'extérieur modulable
== Magazines et revues
families: papier
brands: Paris Match; Science & Vie; Historia; Le Point; Télérama; Géo; L'Équipe; Rustica; Elle
nouns: Magazine hebdomadaire=magazine; Revue mensuelle=magazine; Numéro spécial=magazine; Hors-série=magazine;
  Journal ancien=newspaper; Revue automobile=magazine; Revue d'histoire=magazine; Magazine de mode=magazine;
  Programme télé=magazine; Lot de revues=magazines; Journal de 1944=newspaper; Magazine jeux vidéo=magazine;
  Revue de tricot=magazine; Collection reliée année=books; Gazette illustrée=newspaper; Revue militaire=magazine;
  Supplément du dimanche=newspaper
english: Vintage Magazine=magazine; Fashion Magazine Issue=magazine; Old Newspaper=newspaper; Car Review=magazine
details: couverture; sommaire; du mois de mars; numéro {n}; dossier central; avec son poster; parution; interview;
  petites annonces; agrafé; actualité; reportage photo
sizes: N° {n}; n°{n} du 12/05/{year}; {n} numéros; 1964
fresh: Mook indépendant; Fanzine risographie; Webzine imprimé
== Épicerie
families: bouche
brands: Bonne Maman; Lindt; Haribo; Panzani; Kusmi Tea; Nescafé; Heinz; Carambar; Maille
nouns: Café en grains=sack; Café moulu=sack; Thé vert=teabox; Infusion=teabox; Chocolat noir=tablet; Confiture=jar;
  Miel=jar; Bonbons=sack; Dragées=jar; Huile d'olive=bottle; Sirop=bottle; Pâtes=sack; Riz basmati=sack; Conserves=tin;
  Foie gras=jar; Biscuits=teabox; Épices=jar; Moutarde=jar; Soupe déshydratée=envelope; Farine=sack; Sucre=teabox;
  Fruits secs=sack
english: Organic Green Tea=teabox; Roasted Coffee Beans=sack; Dark Chocolate Bar=tablet; Hot Sauce=bottle;
  Chewing Gum=tin
details: origine Éthiopie; agriculture biologique; sans gluten; halal; parfum fraise; DLUO; cuisson 8 min;
  arôme naturel; goût réglisse; cacao 72%; à infuser; pur arabica
sizes: {h} g; {kg} kg; {n} sachets; 75 cl; {n} capsules
fresh: Kombucha gingembre; Protéines de pois; Matcha cérémonie
== Literie
families: maison
brands: Simmons; Epéda; Bultex; Dodo; Merinos; Dunlopillo; Hbedding; Deko Dream
nouns: Matelas mémoire de forme=mattress; Matelas ressorts ensachés=mattress; Surmatelas=mattress;
  Sommier tapissier=bed; Sommier à lattes=bed; Oreiller=cushion; Traversin=bolster; Couette chaude=bedding;
  Protège-matelas=mattress; Tête de lit=headboard; Ensemble matelas sommier=bed; Oreiller cervical=cushion;
  Lit une place=bed; Couette légère=bedding; Alèse=mattress; Futon=mattress; Matelas latex=mattress; Cadre de lit=bed
english: Memory Foam Mattress=mattress; Bed Frame=bed; Down Duvet=bedding; Memory Pillow=cushion
details: soutien ferme; accueil moelleux; 7 zones; 20 cm d'épaisseur; anti-acariens; déhoussable; garnissage duvet;
  450 g/m²; densité 35 kg/m³; dos et lombaires; face été hiver; lattes multiplis
sizes: {d}x190 cm; 140x190 cm; 160x200 cm; {h} g/m²
fresh: Matelas hybride roulé; Couverture lestée; Sommier relaxation connecté
== Jeux de plein air
families: dehors; enfants
brands: Decathlon; Kettler; Hudora; Wham-O; Nerf; Feber; Trigano; Stiga; Soulet
nouns: Trampoline=trampoline; Toboggan=slide; Balançoire=swing; Portique=swing; Bac à sable=bucket; Cerf-volant=kite;
  Ballon de foot=ball; Raquettes de badminton=racket; Table de ping-pong=table; Trottinette=scooter;
  Vélo enfant=bicycle; Patins à roulettes=skate; Cabane de jardin enfant=house; Jeu de pétanque=balls;
  Panier de basket=hoop; Frisbee=ring; Corde à sauter=leash; Skateboard=skate; Pistolet à eau=blaster;
  But de football=goal; Jeu de croquet=mallet
english: Kids Scooter=scooter; Outdoor Swing Set=swing; Kite=kite; Basketball Hoop=hoop; Badminton Set=racket
details: filet de sécurité; poids max 50 kg; roues ABEC 7; toile de saut; extérieur; gonflable avec pompe;
  réglable en hauteur; terrain et plage; bois traité; cordes nylon; roulement; entraînement
sizes: Ø {cm} cm; taille {size}; {age} ans; {m} m
fresh: Draisienne électrique; Slackline ninja; Raquettes de pickleball
== Bricolage
families: dehors; maison
brands: Bosch; Makita; Dewalt; Facom; Stanley; Ryobi; Einhell; Wolfcraft; Black+Decker
nouns: Perceuse visseuse=drill; Marteau=hammer; Tournevis=screwdriver; Scie sauteuse=drill; Meuleuse=drill;
  Clé à molette=wrench; Boîte à outils=toolbox; Coffret de douilles=toolbox; Niveau laser=level; Mètre ruban=tape;
  Ponceuse=drill; Escabeau=ladder; Pince universelle=secateurs; Forets béton=pens; Vis à bois=tin;
  Peinture murale=bucket; Rouleau de peinture=brush; Établi pliant=desk; Compresseur=pump; Pistolet à colle=sprayer;
  Serrure=lock; Scie à main=saw; Cadenas=lock
english: Cordless Drill=drill; Tool Box=toolbox; Screwdriver Set=screwdriver; Claw Hammer=hammer; Step Ladder=ladder
details: mandrin 13 mm; couple 60 Nm; acier chrome vanadium; 18 V lithium; 2 batteries; percussion; variateur;
  manche bi-matière; gros œuvre; trempé; grain 120; SDS plus
sizes: {h} W; {h} mm; 18 V; {n} pièces; {l} L
fresh: Pistolet à peinture sans fil; Scie cloche diamant; Caméra d'inspection
== Informatique
families: ecran
brands: Asus; HP; Logitech; Lenovo; Dell; Kingston; TP-Link; Samsung; Acer
nouns: Ordinateur portable=laptop; Écran LED=screen; Clavier mécanique=keyboard; Souris sans fil=mouse;
  Disque dur externe=memory; Clé USB=memory; Imprimante laser=printer; Tablette tactile=tablet;
  Carte graphique=circuit; Barrette mémoire=circuit; Routeur wifi=router; Webcam=camera; Câble Ethernet=cable;
  Batterie PC portable=battery; Station d'accueil=router; Cartouche imprimante=tin; Casque micro=headset;
  Sacoche ordinateur=bag; Alimentation PC=charger; Onduleur=drawers
english: Laptop Battery=battery; Wireless Mouse=mouse; USB Flash Drive=memory; Mechanical Keyboard=keyboard;
  LED Monitor=screen
details: SSD 512 Go; 8 Go RAM; Core i5; USB 3.0; Full HD; Windows 10; AZERTY; 2,4 GHz; DDR4; garantie 1 an;
  15,6 pouces; bluetooth
sizes: {h} Go; {n} pouces; {m} m; 1 To
fresh: Mini PC Ryzen; Écran portable USB-C; NAS 4 baies
== Luminaires
families: maison
brands: Philips; Eglo; Paulmann; Osram; Brilliant; Faro; Xanlite; Lussiol
nouns: Lampe à poser=lamp; Lampadaire=floorlamp; Suspension=pendant; Lustre=pendant; Applique murale=lamp;
  Plafonnier=pendant; Ampoule LED E27=bulb; Ampoule filament=bulb; Ruban LED=tape; Spot encastrable=bulb;
  Lampe de bureau=desklamp; Guirlande guinguette=lights; Lampe de chevet=lamp; Abat-jour=lamp;
  Projecteur extérieur=camera; Borne solaire=floorlamp; Réglette=level; Lampe liseuse=desklamp
english: Pendant Light=pendant; Desk Lamp=desklamp; LED Bulb=bulb; Floor Lamp=floorlamp
details: culot E27; 800 lumens; blanc chaud 2700K; dimmable; abat-jour lin; IP44; détecteur de mouvement; classe A++;
  douille; câble textile; basse consommation; trépied
sizes: {h} W; Ø {cm} cm; H{cm} cm; {h} lm
fresh: Lampe nomade rechargeable; Ampoule connectée RGB; Lampe lune 3D
== Bandes dessinées
families: papier; collection
brands: Dupuis; Dargaud; Casterman; Glénat; Kana; Delcourt; Soleil; Pika; Ki-oon
nouns: BD Astérix=comic; Album Tintin=comic; Manga tome=manga; Intégrale=comic; Comics Batman=comic;
  BD Lucky Luke=comic; Album Spirou=comic; Manga One Piece tome=manga; Bande dessinée Gaston=comic;
  Manga Naruto tome=manga; BD Largo Winch=comic; Coffret manga=books; Shonen tome=manga; Album Les Schtroumpfs=comic;
  BD Thorgal=comic; Comics Marvel=comic; Seinen tome=manga
english: Comic Book=comic; Manga Volume=manga; Graphic Novel=comic
details: édition cartonnée; scénario et dessin; sens de lecture japonais; première édition; planches couleur;
  tirage de tête; cycle complet; tome {vol}; éditions originales; ex-libris; phylactères
sizes: tome {vol}; T{vol}; {n} planches; {vol} tomes
fresh: Webtoon imprimé; BD dont vous êtes le héros; Manhwa couleur
== Cuisine et table
families: bouche; maison
brands: Tefal; Pyrex; Le Creuset; Guy Degrenne; Luminarc; Moulinex; Mastrad; Arcoroc; Sabatier
nouns: Poêle antiadhésive=pan; Casserole inox=pan; Cocotte en fonte=pan; Assiettes plates=plate;
  Service de table=plate; Mug=cup; Tasse à café=cup; Couteau de chef=knife; Ménagère inox=knife; Verres à vin=glass;
  Carafe=bottle; Saladier=bowl; Moule à gâteau=bowl; Planche à découper=tablet; Boîte de conservation=jar; Râpe=knife;
  Théière=teapot; Bouilloire=teapot; Cafetière italienne=teapot; Fouet de cuisine=spade; Torchon de cuisine=towels
english: Non Stick Frying Pan=pan; Coffee Mug=cup; Chef Knife=knife; Wine Glasses=glass; Teapot=teapot
details: tous feux dont induction; passe au lave-vaisselle; fonte émaillée; porcelaine blanche; grès; lame inox;
  manche amovible; verre trempé; service 6 personnes; sans PFOA; couvercle; four
sizes: Ø {cm} cm; {n} cl; {n} pièces; {l} L
fresh: Friteuse sans huile; Gourde isotherme; Moule à mochi
""")

OUTSIDE = read_departments("""
== Instruments de musique
families: musique
brands: Yamaha; Fender; Roland; Gibson; Shure; Casio
nouns: Guitare acoustique=guitar; Guitare électrique=guitar; Ukulélé=guitar; Clavier arrangeur=keyboard;
  Batterie électronique=drum; Djembé=drum; Micro chant=microphone; Ampli guitare=router; Cordes guitare=cable;
  Violon d'étude=guitar; Flûte à bec=flute
english: Acoustic Guitar=guitar; Snare Drum=drum; Vocal Microphone=microphone
details: table épicéa; 88 touches; XLR; tirant light; accordeur inclus; manche érable; avec housse; débutant
sizes: 4/4; 3/4; {h} W; {n} touches
fresh: Looper nomade; Batterie silencieuse
== Auto et moto
families: mecanique
brands: Michelin; Valeo; Castrol; Motul; Bosch; Thule
nouns: Pneu été=tyre; Jante alu=tyre; Plaquettes de frein=battery; Huile moteur 5W30=bottle; Casque moto=helmet;
  Batterie voiture=battery; Essuie-glaces=level; Coffre de toit=pouf; Housse de siège auto=carseat; Rétroviseur=mirror;
  Filtre à huile=tin; Phare avant=bulb
english: Summer Tyre=tyre; Brake Pads=battery; Motorcycle Helmet=helmet
details: 205/55 R16; homologué ECE; montage avant; 12 V; diesel; origine constructeur; essence; roulage
sizes: R{n}; {l} L; {h} mm
fresh: Borne de recharge murale; Dashcam double
== Parfums et beauté
families: beaute
brands: L'Oréal; Nuxe; Caudalie; Guerlain; Maybelline; Yves Rocher
nouns: Eau de parfum=perfume; Eau de toilette=perfume; Rouge à lèvres=lipstick; Crème de jour=jar; Mascara=lipstick;
  Vernis à ongles=perfume; Shampoing=bottle; Gel douche=bottle; Palette de maquillage=palette; Brosse lissante=brush;
  Sérum visage=bottle; Masque capillaire=jar
english: Eau de Parfum Spray=perfume; Matte Lipstick=lipstick; Face Cream=jar
details: peaux sensibles; notes de jasmin; tenue 12 h; acide hyaluronique; sans paraben; vaporisateur; waterproof;
  cheveux secs
sizes: {h} ml; {h} g
fresh: Sérum au bakuchiol; Patchs hydrogel
""")
"""What a shop starts to sell one day: these appear in drifted traffic alone."""
