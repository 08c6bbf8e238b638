"""Small talk as people type it: greetings, thanks, "who are you" and the like. Knows the forms; no answers.

A third of the forms of an intent, chosen by hash, is held out: training never sees them. The first form of
every intent always belongs to training, because an evaluation on "thanks" says nothing about a model that
never read the plain word.
"""

import random
import re
from functools import cache

from eft_demo.atlas.halves import listed, lowest

INTENTS: dict[str, tuple[str, ...]] = {
    "greeting": listed("""
        hello | hi | hey | Hi there! | Hello! | hey there | hiya | howdy | yo | sup | hallo there
        | Good morning | good morning! | good afternoon | Good evening! | good day | greetings | Hello there
        | hi hi | heya | hey you | hello bot | hi computer | helo | hellooo | hii | heyyy | hey :)
        | Hi, nice to meet you. | Pleased to meet you! | morning! | evening all | hello friend | hey buddy
        | hi friend, are you there? | Hello, is anybody there? | anyone home? | knock knock, hello?
        | top of the morning to you | I just wanted to say hello | good to see you | hello again
        | hi, me again | hey mate | g'day | salutations | Hello everybody | hello hello | ahoy
        | Hey, I'm new here | hi I am new here | well hello
        """),
    "thanks": listed("""
        thanks | thank you | Thank you! | Thanks a lot! | thx | ty | tysm | many thanks
        | thank you very much | thank you so much | cheers | thanks mate | Thanks, that helps.
        | thanks for your help | thank you for the answer | much appreciated | I appreciate it | thnaks
        | thank u | thankyou | thanks a million | thanks, great | ok thanks | okay thank you
        | great, thanks! | perfect, thank you | that was helpful | That helped a lot. | Very kind of you.
        | you saved my day, thanks | thanks for that | big thanks | thanks again | nice, thx | thanks buddy
        | Thank you, almanac! | merci, that was useful | how kind, thank you | I owe you one
        | thanks for explaining | cool thanks | thanks, that is all I needed | thank you kindly
        """),
    "goodbye": listed("""
        bye | goodbye | Goodbye! | bye bye | see you | See you later! | cya | see ya | later | take care
        | good night | Good night! | gn | farewell | so long | I have to go now. | gotta go
        | got to run, bye | bye for now | talk to you later | ttyl | until next time | See you tomorrow!
        | have a nice day | Have a good evening! | that's all, bye | I'm off | i'm leaving now
        | ciao for now | peace out | cheerio | over and out | good bye | byee | thanks, bye | ok bye
        | see you soon | I'm done for today, goodbye | catch you later | night night | toodle-oo
        | We are finished here. Bye! | let's stop here
        """),
    "how_are_you": listed("""
        how are you? | How are you? | how are you doing | how r u | how are u | How's it going?
        | hows it going | how is your day? | How are you today? | how do you do? | how are things?
        | what's up? | whats up | wassup | what's new? | how have you been? | are you well? | Are you okay?
        | you ok? | you good? | how do you feel? | how are you feeling today | how's life?
        | Hello, how are you? | hi how are you | hey, how are you doing? | everything alright?
        | everything fine with you? | did you sleep well? | how was your day | How goes it? | how you doin
        | I hope you are well | are you having a good day? | all good? | how's everything | what's going on?
        | how is the almanac today? | and how are you? | fine, and you?
        """),
    "who_are_you": listed("""
        who are you? | Who are you? | what are you? | who is this | who am I talking to?
        | Who am I speaking with? | are you a bot? | Are you a robot? | are you human? | are you a person
        | are you real? | Are you an AI? | what kind of AI are you? | r u a bot | who r u
        | tell me about yourself | Tell me something about yourself. | introduce yourself
        | Please introduce yourself. | describe yourself | what is this | what is this thing?
        | What are you exactly? | are you ChatGPT? | are you Siri? | are you GPT-4
        | are you a language model? | which model are you? | what model is this
        | is there a human behind this? | am I talking to a machine? | so who are you then | who's there?
        | explain who you are | what should I know about you? | who do I have the pleasure of talking to?
        | are you alive? | are you a computer? | is this a chatbot | What is Atlas? | who or what is Atlas?
        """),
    "your_name": listed("""
        what is your name? | What's your name? | whats your name | what's ur name | do you have a name?
        | Have you got a name? | your name? | your name please | name? | may I ask your name?
        | tell me your name | Tell me your name, please. | how are you called? | what do they call you?
        | What do people call you? | what should I call you? | what can I call you | who gave you your name?
        | does this bot have a name | say your name | what name do you go by? | by what name are you known?
        | what was your name again? | I forgot your name | can I know your name? | hi, what's your name?
        | and you are? | And your name is? | give me your name | what is the name of this bot?
        | what are you called
        """),
    "your_maker": listed("""
        who made you? | Who made you? | who created you? | who built you | who programmed you?
        | Who trained you? | who wrote you? | who is your creator? | who is your maker | who owns you?
        | who is your boss? | who do you work for? | who are your parents? | where do you come from?
        | Where are you from? | where were you made | where do you live? | how were you made?
        | how were you trained? | how old are you? | when were you born? | when were you made?
        | when is your birthday? | what is your age | how do you work? | How does this work?
        | what are you made of? | how big are you? | how many parameters do you have? | what is inside you?
        | how do you know things? | where do you get your facts? | what were you trained on
        | which company made you? | who developed you
        """),
    "what_can_you_do": listed("""
        what can you do? | What can you do? | what do you do? | what can I ask you? | What can I ask?
        | what do you know? | What do you know about? | what are you good at? | what topics do you know?
        | which questions can you answer? | what kind of questions can I ask? | what should I ask you?
        | give me an example | Give me an example question. | what is your purpose? | what are you for?
        | why do you exist? | how can you help me? | can you help me? | what are your skills
        | what are your abilities? | list your features | show me what you can do | what else can you do
        | what can u do | wat can you do | tell me what you know | what's in your almanac?
        | what is your world? | what facts do you have | do you know a lot? | do you know everything?
        | can you answer questions? | what can this bot do | what is this good for? | surprise me
        | ask me to ask you something | what are your limits? | what can't you do?
        | which subjects do you cover
        """),
    "help": listed("""
        help | help me | Help! | /help | I need help | i need some help | can somebody help me?
        | please help | pls help | help pls | how do I use this? | how to use this
        | How does one use this page? | what do I type here? | what now? | what do I do now?
        | what should I do | I don't know what to ask | I am lost | i'm confused | I don't understand
        | how do i start | where do I start? | start | menu | options | instructions | manual | commands
        | show me the commands | is there a manual? | any hints? | give me a hint | hint please
        | what am I supposed to do here | I'm stuck | ? | ??? | info
        """),
    "compliment": listed("""
        you are great | You are great! | you're awesome | you're the best | good bot | good job | Well done!
        | nice work | great answer | wow | Wow! | amazing | awesome! | that was a good answer
        | you are smart | You are very clever. | you are so helpful | I like you | i love you | I love this
        | i like talking to you | you are funny | you're cute | you rock | brilliant! | fantastic
        | excellent | impressive | very good | nice one | that's cool | cool | so cool! | neat
        | you know a lot! | great stuff | correct! | that's right | you got it | bravo | ur awesome
        | you are my favourite bot | I'm impressed | what a nice answer | 10 out of 10
        """),
    "insult": listed("""
        you are stupid | You are stupid! | you're dumb | stupid bot | bad bot | you are useless
        | This is useless. | you suck | this sucks | idiot | you idiot | shut up | Shut up! | go away
        | leave me alone | I hate you | i hate this | you are wrong | that's wrong | That is wrong. | wrong!
        | nonsense! | that makes no sense | what a stupid answer | terrible answer | that was bad | boring
        | you are boring | lame | you know nothing | you don't know anything | liar | you are lying
        | garbage | rubbish | trash | this is a waste of time | worst bot ever | ugh | are you kidding me?
        | are you dumb | my toaster is smarter than you | what a bad program | you made a mistake
        | that can't be right | you're broken | this doesn't work
        """),
    "apology": listed("""
        sorry | I am sorry | I'm sorry! | so sorry | my bad | my mistake | oops | Oops! | whoops
        | sorry, typo | sorry about that | excuse me | pardon | pardon me | I apologise | i apologize
        | please forgive me | forgive me | didn't mean that | I did not mean it | sorry, I was rude
        | sorry for the bad words | sorry I'm late | sorry for bothering you | sry | soz | oh sorry
        | Sorry, wrong window. | sorry, that was not for you | never mind | nevermind, sorry | forget it
        | forget what I said | ignore that | please ignore my last message | I take it back
        | that was my fault
        """),
    "test": listed("""
        test | testing | Test. | test test | testing 1 2 3 | testing, testing | this is a test | just a test
        | is this thing on? | is this on? | does this work? | can you hear me? | do you read me?
        | can you see this? | are you there? | You there? | hello? are you working? | ping | are you online?
        | are you awake | check | mic check | one two three | checking the connection | just checking
        | just trying this out | I'm only testing | trying it out | let's see if this works
        | does it answer? | say something | Say anything. | answer me | respond please | talk to me
        | test message
        """),
    "nonsense": listed("""
        asdf | asdfgh | qwerty | blah blah | bla bla bla | lorem ipsum | aaaa | aaaaaaaa | xxx | zzz | foo
        | foo bar | lol what | hjkl | sdfsdf | ghghgh | dfkjhg | jkl jkl | uiop | mnbvcx | xyzzy
        | wubba wubba | la la la | tralala | boop | beep boop | blub | hmpf | banana banana banana | potato
        | fish fish fish soup | purple monkey dishwasher | 12345 | 000 | 42 | !!! | ... | .... | - | a | x
        | q | hm hm hm | gibberish | skdjfh skjdfh | the the the | and then but or | yadda yadda
        | wobble wibble | colourless green ideas sleep furiously
        """),
    "yes": listed("""
        yes | Yes. | Yes! | yes please | yep | yeah | yup | ya | yea | sure | Sure. | of course | certainly
        | absolutely | definitely | indeed | right | exactly | true | I think so | I do | yes I do
        | yes, go on | yes of course | why not | go ahead | please do | y | aye | affirmative | totally
        | you bet | I guess so | I agree | sounds good | yes, tell me more | yes, that one
        """),
    "no": listed("""
        no | No. | No! | nope | nah | no thanks | No, thank you. | no way | not really | never | not at all
        | I don't think so | n | no no no | certainly not | of course not | absolutely not | no I don't
        | no, that's all | nothing | nothing else | not now | not today | maybe later | I'd rather not
        | no need | negative | not interested | I disagree | no, leave it | don't | please don't | stop
        | stop it | enough
        """),
    "ok": listed("""
        ok | okay | Ok. | Okay! | OK | k | kk | alright | all right | fine | I see | i see now | got it
        | understood | makes sense | good | good to know | interesting | Interesting! | hm | hmm | hmmm
        | aha | ah ok | oh | oh I see | right then | very well | fair enough | so so | noted | roger | great
        | nice | Nice. | well | well well | and? | so? | so what | go on | continue | next | whatever
        | if you say so | I didn't know that | really? | oh really
        """),
    "laugh": listed("""
        haha | hahaha | ha ha | Ha! | lol | LOL | lmao | rofl | hehe | hihi | hehehe | xD | :D | :) | ;)
        | :-) | that's funny | That was funny! | so funny | very funny | hilarious | you make me laugh
        | you're making me laugh | I'm laughing so hard | good one | good one haha | hahah ok | lolol
        | lol nice | ha, that is good | bwahaha | teehee | this is hilarious | made me smile
        | i can't stop laughing
        """),
    "language": listed("""
        do you speak Spanish? | Do you speak French? | can you speak German? | do you speak english
        | can you speak Chinese? | do you understand Italian? | do you understand Russian
        | can you talk in Arabic? | Which languages do you speak? | what languages do you know?
        | what language do you speak? | how many languages do you speak? | can you answer in French?
        | please answer in Spanish | answer in German please | reply in Portuguese | speak Dutch
        | switch to Polish | can we talk in Hindi? | can I write in Turkish?
        | is English the only language you know? | do you only speak English? | parlez-vous anglais?
        | sprechen Sie Deutsch? | habla usted espanol? | hablas ingles? | parli italiano? | fala portugues?
        | spreek je Nederlands? | I don't speak English well | my English is bad | sorry for my English
        | can you translate? | do you know Latin? | could you talk Japanese with me? | change the language
        | another language please | do you speak Klingon
        """),
    "introduction": listed("""
        my name is Anna | My name is Ben. | I am Lucy | I'm Tom | i'm maria | hi, I'm Sam
        | hello my name is Alex | call me Kim | You can call me Max. | I am a student | I'm a teacher
        | i am 12 years old | I'm from a small town | I live by the sea | I work in a shop | I am new here
        | this is my first time here | we are a school class | I'm here with my kids | I like maps
        | I love geography | I am learning English | I have a test tomorrow | i'm doing my homework
        | I am a fan of quizzes | I want to learn something | I have a question | can I ask you something?
        | May I ask a question? | i want to ask something | I've got a question for you | let's talk
        | let's chat | can we talk? | talk with me | let's play | let's have a quiz
        """),
    "mood": listed("""
        I'm bored | i am bored | I'm so bored! | I'm tired | i am sad | I feel sad | I'm sad today
        | I'm lonely | I am happy | I'm happy! | I had a bad day | today was awful | I am hungry | I'm angry
        | i'm stressed | I can't sleep | I feel great | I'm fine | i'm good | I'm doing well, thanks
        | not so good | could be better | I am in love | I am ill | I have a cold | it's my birthday
        | It's my birthday today! | I'm on holiday | I passed my exam! | I miss my friends | I am nervous
        | cheer me up | I'm excited | what a day | life is hard | I need a friend
        | do you want to be my friend?
        """),
    "feelings": listed("""
        do you have feelings? | can you feel? | Are you happy? | are you sad? | are you bored?
        | do you sleep? | do you eat? | do you dream? | do you love me? | do you like me?
        | do you like humans? | do you get tired? | are you lonely? | do you have friends?
        | do you have a family? | do you have a body? | can you see me? | can you think? | do you think?
        | are you conscious? | Are you clever? | are you smart? | are you dangerous?
        | will you take over the world? | do you lie? | can I trust you? | are you ever wrong?
        | do you remember me? | do you learn from me? | will you remember this?
        | what is your favourite colour? | what's your favorite food | what do you like?
        | do you have hobbies? | do you like music? | do you believe in God? | are you a boy or a girl?
        | do you have a soul
        """),
    "doubt": listed("""
        are you sure? | Are you sure? | r u sure | really? are you sure | is that true? | is that right?
        | Is that correct? | how do you know? | how do you know that? | where did you get that?
        | what is your source? | can you prove it? | prove it | I don't believe you | I doubt it
        | that sounds wrong | you must be wrong | no way that's true | check again | Please check again.
        | think again | try again | once more | what? | what did you say? | say that again | repeat please
        | can you repeat that? | pardon, what was that? | I didn't get that | what do you mean?
        | I don't get it | explain that | why? | but why? | how so? | says who? | according to whom?
        """),
}  # fmt: skip


def _plain(form: str) -> str:
    """What the hash sees, so that "Hello!" and "hello" are in the same half."""
    return " ".join(re.sub(r"[^a-z0-9 ]", "", form.lower()).split()) or form


@cache
def forms(intent: str, split: str) -> tuple[str, ...]:
    """The forms of an intent in one half. Raises KeyError for an unknown intent or split."""
    wanted = {"train": False, "held": True}[split]
    first, *others = dict.fromkeys(_plain(form) for form in INTENTS[intent])
    held = lowest(others, (len(others) + 1) // 3)
    return tuple(form for form in INTENTS[intent] if (_plain(form) in held) == wanted)


def small_talk(rng: random.Random, split: str) -> tuple[str, str]:
    """(intent, form), every intent equally often."""
    intent = rng.choice(tuple(INTENTS))
    return intent, rng.choice(forms(intent, split))
